"""Sentences in several languages, and things to be said, known by name: facts alone.

Who looks a name up comes through `catalogue`; which files hold what goes out.
"""

from __future__ import annotations

from ..facts import File, Named

_PARTS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
_SUMS = {
    "train.de": (2110398, "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72"),
    "train.en": (1801238, "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6"),
    "train.fr": (2111303, "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d"),
    "valid.de": (75981, "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660"),
    "valid.en": (63297, "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227"),
    "valid.fr": (73924, "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc"),
    "test.de": (70649, "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16"),
    "test.en": (62076, "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182"),
    "test.fr": (72261, "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6"),
}

_FLICKR = {
    "train-pictures": (
        "train_96.tar",
        25384960,
        "343eaa115b0967e213bfb6d0fa9230ec290430de28a9304dc4d5040784e011ce",
    ),
    "train-captions": (
        "train_captions.json",
        1969504,
        "30d960cce5960984975bcd5e509726e546d9cba1efe598a113dbaf6c63f1e75c",
    ),
    "valid-pictures": (
        "val_96.tar",
        4249600,
        "2c36005521ee3b6b00760c7398e4bb21b66b56e71549b14a96b4faaf6fac8d5c",
    ),
    "valid-captions": (
        "val_captions.json",
        331709,
        "12b6a29640993636a8f6de96c1563735ac91d6a419c2cae647734a0e5ef48753",
    ),
    "test-pictures": (
        "test_96.tar",
        4229120,
        "08363ca5bd755fac48fc6d7bfb9ec5818917f7a88b4e43f4d5ce5a368e434bc0",
    ),
    "test-captions": (
        "test_captions.json",
        329538,
        "51b9e4c267b69259cd5ed88e561caf7db5556e8490965c9667f53f9adc1ea1fc",
    ),
}

ENTRIES = (
    Named(
        "multi30k",
        "captions in English, German and French: any of them into any other",
        (),
        (29000, 1000),
        1014,
        {
            part: File(f"{_PARTS[part.split('.')[0]]}.{part.split('.')[1]}", size, sha256)
            for part, (size, sha256) in _SUMS.items()
        },
        ("https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/",),
        ("multi30k", "Multi30k"),
        "CC BY-NC-SA 4.0, research use",
        "Elliott, Frank, Sima'an, Specia. Multi30K: multilingual English-German image "
        "descriptions. Workshop on Vision and Language, 2016.",
        form="parallel",
    ),
    Named(
        "dates",
        "dates as people of 39 languages write them, to be said as in 2033-11-22",
        (),
        (12000, 2000),
        1000,
        {},
        (),
        (),
        "Unicode licence (the names and orders are CLDR's)",
        "Unicode Common Locale Data Repository, as Babel carries it.",
        form="parallel",
        carrier="Babel",
    ),
    Named(
        "spoken-numbers",
        "rows of handwritten digits, to be said in words, in English or Korean",
        (),
        (12000, 1000),
        500,
        {},
        (),
        (),
        "CC BY 4.0 (the scans), LGPL (num2words)",
        "Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998.",
        form="captions",
    ),
    Named(
        "flickr8k",
        "photographs of 96 x 96 pixels, five captions in English each",
        (),
        (6000, 1000),
        1000,
        {part: File(*facts, zipped=False) for part, facts in _FLICKR.items()},
        (),
        ("flickr8k", "captions/flickr8k"),
        "research and education only; the photographs belong to those who took them",
        "Hodosh, Young, Hockenmaier. Framing image description as a ranking task: data, models and "
        "evaluation metrics. JAIR 47, 2013.",
        form="captions",
    ),
)
