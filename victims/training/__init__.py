"""How victims are trained, stopped and gone on with."""
