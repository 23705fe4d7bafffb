"""How near two results must be: the bound follows from the dtype and the number of steps alone."""

import torch


def assert_near(got, expected, steps=1):
    """Fail unless the two have one shape and dtype and differ by rounding alone.

    Each step may lose a few units in the last place of the largest value there is: 64 of them, as
    sums over the units are taken in another order. In float64 that is 1e-13 for ten steps.
    """
    assert isinstance(got, torch.Tensor), f"expected a tensor, got {got!r}"
    assert got.shape == expected.shape, f"{tuple(got.shape)} is not {tuple(expected.shape)}"
    assert got.dtype == expected.dtype, f"{got.dtype} is not {expected.dtype}"
    if not expected.numel():
        return
    assert torch.isfinite(expected).all(), "what is compared with is not finite"
    scale = max(1.0, float(expected.detach().abs().max()))
    bound = 64 * torch.finfo(expected.dtype).eps * max(steps, 1) * scale
    worst = float((got.detach() - expected.detach()).abs().max())
    assert worst <= bound, f"differs by {worst:.3g}, more than {bound:.3g}"


def assert_same_bits(got, expected):
    """Fail unless the two are equal bit for bit, signs of zero and NaN included."""
    assert got.shape == expected.shape, f"{tuple(got.shape)} is not {tuple(expected.shape)}"
    assert got.dtype == expected.dtype, f"{got.dtype} is not {expected.dtype}"
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]
    got, expected = (v.detach().contiguous().view(whole) for v in (got, expected))
    assert torch.equal(got, expected), f"{int((got != expected).sum())} values differ"
