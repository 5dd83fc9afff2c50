"""How an attack finds the best code or the nearest sample."""
