import torch

from generalist.engine.caches import LruCache, pixel_digest


def test_the_least_recently_used_goes_first() -> None:
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache: LruCache[str, int] = LruCache(0)
    cache.put("a", 1)
    assert (cache.get("a"), len(cache)) == (None, 0)


def test_equal_pixels_have_one_digest() -> None:
    pixels = torch.rand(3, 8, 6)
    assert pixel_digest(pixels) == pixel_digest(pixels.clone())
    assert pixel_digest(pixels) == pixel_digest(pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1))


def test_one_other_pixel_makes_another_digest() -> None:
    pixels = torch.rand(3, 8, 6)
    before = pixel_digest(pixels)
    pixels[2, 7, 5] += 0.01
    assert pixel_digest(pixels) != before
