"""What released samples and their codes tell about the generator, without asking it anything."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attacks.base import some_rows
from attacks.search.nearest import squared_distances
from victims.access import PartialBlackBox

SAMPLES = 4096
"""Released samples that predictions are fitted to, drawn at random: the cost is cubic in them."""

WIDTH, RIDGE = 0.5, 0.1
"""The kernel's width, in median squared distances between samples; what is added to its diagonal.

On a DCGAN of digits, leave-one-out errors and losses at the predicted codes hardly change for
widths 0.25 to 1 and ridges 0.01 to 0.1.
"""

DAMPING = 0.1
"""How far the least influential direction of codes is stretched: by sqrt((1 + DAMPING) / DAMPING)
relative to the most influential one."""


@torch.no_grad()
def predicted_codes(view: PartialBlackBox, queries: Tensor) -> np.ndarray:
    """Codes (n, z_dim) float64 whose samples should look like the queries (n, *shape).

    Kernel ridge regression of the codes of released samples on the samples (Gaussian kernel on
    values), brought to the root mean square length of the released codes: predictions for records
    unlike any sample would be short. Where the kernel vanishes altogether, the code is zero.
    """
    rows = some_rows(len(view.released), SAMPLES)
    samples = torch.from_numpy(np.array(view.released[rows])).flatten(1)
    samples, queries = (x.to(view.device, torch.float64) for x in (samples, queries.flatten(1)))
    codes = torch.from_numpy(view.codes[rows]).to(samples)
    centre = samples.mean(0)
    samples, queries = samples - centre, queries - centre
    between = squared_distances(samples, samples)[0]
    width = WIDTH * _median(between).clamp(min=torch.finfo(between.dtype).tiny)
    kernel = between.neg_().div_(width).exp_()  # in place: half a GiB otherwise
    kernel.diagonal().add_(RIDGE)
    weights = _solved_in_place(kernel, codes)
    found = (-squared_distances(queries, samples)[0] / width).exp_() @ weights
    length = torch.linalg.vector_norm(found, dim=1, keepdim=True)
    usual = codes.square().sum(1).mean().sqrt()
    found = torch.where(length > 0, found * (usual / length), 0.0)
    return found.cpu().numpy()


def _solved_in_place(kernel: Tensor, codes: Tensor) -> Tensor:
    """kernel^-1 codes; kernel is positive definite, is read below its diagonal, and is lost.

    LAPACK works on columns: handed rows, torch copies the matrix. So what is below the diagonal
    goes above it, and LAPACK gets the transpose, whose rows are columns.
    """
    for start in range(0, len(kernel), 256):
        rows = kernel[start : start + 256]
        rows[:, start:] = kernel[start:, start : start + 256].mT.clone()
    factor = torch.linalg.cholesky(kernel.mT, out=kernel.mT)
    found = codes.mT.contiguous().mT
    torch.linalg.solve_triangular(factor, found, upper=False, out=found)
    return torch.linalg.solve_triangular(factor.mT, found, upper=True, out=found)


def _median(values: Tensor) -> Tensor:
    """`values.median()` of a matrix, without the copy of all values that torch sorts.

    One row in 16 tells two values that it probably lies between. Few others lie there, unless many
    values are alike: then, as where it lies elsewhere, torch is asked.
    """
    some = values[::16].flatten().sort().values
    lower, upper = some[int(0.48 * len(some))], some[int(0.52 * len(some))]
    blocks = values.split(256)
    below = sum(int((block < lower).sum()) for block in blocks)
    count = sum(int((block <= upper).sum()) for block in blocks) - below
    rank = (values.numel() - 1) // 2 - below
    if not 0 <= rank < count <= values.numel() // 4:
        return values.median()
    between = torch.cat([block[(block >= lower) & (block <= upper)] for block in blocks])
    return between.kthvalue(rank + 1).values


def stretch_coordinates(view: PartialBlackBox) -> np.ndarray:
    """Coordinates in which all directions of a code change the samples more alike, (d, d).

    A code is stretch @ u: the inverse root of B B^T / |B B^T| + DAMPING, where B (d, values) is the
    linear regression of released samples on their codes, that is, the generator's mean Jacobian
    (Stein's lemma, codes being normal). Symmetric; the identity times a number where codes and
    samples have nothing in common.
    """
    jacobian = mean_jacobian(view)
    values, vectors = np.linalg.eigh(jacobian @ jacobian.T)
    relative = values / values[-1] if values[-1] > 0 else values
    return (vectors / np.sqrt(relative.clip(min=0) + DAMPING)) @ vectors.T


def mean_jacobian(view: PartialBlackBox) -> np.ndarray:
    """Slopes (z_dim, values) of the least-squares fit of released samples by their codes."""
    codes = view.codes.astype(np.float64)
    codes -= codes.mean(0)
    origin = view.released[:1].reshape(1, -1)  # any will do: samples that are all alike give zero
    products = sum(
        codes[start : start + len(block)].T @ (block.flatten(1).double().numpy() - origin)
        for start, block in view.blocks()
    )
    return np.linalg.lstsq(codes.T @ codes, products)[0]
