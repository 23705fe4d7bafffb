"""The texts with labels that are known by name: facts alone, no code of theirs.

Who looks a name up comes through `catalogue`; which files hold what goes out.
"""

from __future__ import annotations

from ..facts import File, Named

ENTRIES = (
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
