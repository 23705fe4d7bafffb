"""Bytes of a file as they are meant: packed ones unpacked, whole, no larger than they may be."""

import gzip
import lzma

import pytest

from unrolled.data.content import content
from unrolled.errors import DataError

TEXT = b"to be or not\n" * 99
PACK = {"gz": gzip.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("limit", [None, len(TEXT), len(TEXT) + 1, 5 * len(TEXT)])
def test_a_packed_file_is_unpacked_up_to_the_limit(kind, limit, tmp_path):
    path = tmp_path / f"a.txt.{kind}"
    path.write_bytes(PACK[kind](TEXT))
    assert content(path, limit=limit).data == TEXT


@pytest.mark.parametrize("kind", PACK)
def test_several_streams_are_one_file(kind, tmp_path):
    path = tmp_path / f"a.txt.{kind}"
    path.write_bytes(PACK[kind](TEXT) + PACK[kind](TEXT))
    assert content(path).data == TEXT + TEXT


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("limit", [None, len(TEXT)])
def test_a_file_that_is_cut_off_is_refused(kind, limit, tmp_path):
    path = tmp_path / f"a.txt.{kind}"
    for cut in (1, 8, 20):
        path.write_bytes(PACK[kind](TEXT)[:-cut])
        with pytest.raises(DataError, match=f"a whole {'gzip' if kind == 'gz' else 'xz'} file"):
            content(path, limit=limit)
