"""What word vectors are measured on, by name: facts alone, no code of theirs.

Who looks a name up comes through `catalogue`; which files hold what goes out.
"""

from __future__ import annotations

from ..facts import File, Named

# gensim brings the three files; without it they come from its repository.
_MIRROR = "https://raw.githubusercontent.com/piskvorky/gensim/4.4.0/gensim/test/test_data/"

ENTRIES = tuple(
    Named(
        name,
        about,
        (),
        (0, count),
        0,
        {"list": File(file, size, sha256, zipped=False)},
        (_MIRROR,),
        ("word2vec", name),
        licence,
        paper,
        form="words",
        carrier="gensim",
    )
    for name, about, count, file, size, sha256, licence, paper in (
        (
            "wordsim353",
            "353 pairs of English words and how related people find them",
            353,
            "wordsim353.tsv",
            7186,
            "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
            "CC BY 4.0",
            "Finkelstein et al. Placing search in context: the concept revisited. TOIS, 2002.",
        ),
        (
            "simlex999",
            "999 pairs of English words and how alike (not merely related) people find them",
            999,
            "simlex999.txt",
            18126,
            "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
            "free for research; its authors name no licence",
            "Hill, Reichart, Korhonen. SimLex-999: evaluating semantic models with (genuine) "
            "similarity estimation. Computational Linguistics, 2015.",
        ),
        (
            "analogies",
            "19,544 analogies of English words in 14 sections (questions-words.txt)",
            19544,
            "questions-words.txt",
            603955,
            "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
            "Apache 2.0",
            "Mikolov, Chen, Corrado, Dean. Efficient estimation of word representations in vector "
            "space. 2013.",
        ),
    )
)
