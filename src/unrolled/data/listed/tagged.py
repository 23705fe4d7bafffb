"""The sentences with a tag a word that are known by name: facts alone, no code of theirs.

Who looks a name up comes through `catalogue`; which files hold what goes out.
"""

from __future__ import annotations

from ..facts import File, Named

ENTRIES = (
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
        "Chun, Han, Hwang, Choi. Building Universal Dependency treebanks in Korean. LREC, 2018.",
        form="tagged",
    ),
)
