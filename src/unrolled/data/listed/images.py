"""The pictures with labels that are known by name: facts alone, no code of theirs.

Who looks a name up comes through `catalogue`; which files hold what goes out.
"""

from __future__ import annotations

from ..facts import File, Named

_TEN = tuple("0123456789")

ENTRIES = (
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
)
