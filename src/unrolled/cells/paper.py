"""A BibTeX entry comes in; who wrote it and when goes out, as one would say it."""

import re
import unicodedata

ACCENTS = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303"}
ACCENTS |= {"c": "\u0327", "v": "\u030c", "=": "\u0304", ".": "\u0307"}


def short(bibtex: str) -> str:
    """Authors and year, in a few words; nothing where there is no entry.

    Example:
        >>> short("@article{x, author = {Gers, Felix and Schmidhuber, J.}, year = {2000}}")
        'Gers and Schmidhuber 2000'
        >>> short("")
        ''
    """
    families = [family(author) for author in re.split(r"\s+and\s+", field(bibtex, "author"))]
    said = " and ".join(families) if len(families) < 3 else f"{families[0]} et al."
    return f"{said} {field(bibtex, 'year')}".strip()


def field(bibtex: str, name: str) -> str:
    """The value of one field of an entry, its outer braces or quotes removed."""
    found = re.search(rf"\b{name}\s*=\s*", bibtex)
    if not found:
        return ""
    opening, rest = bibtex[found.end()], bibtex[found.end() :]
    start = 1 if opening in '{"' else 0
    ends = {"{": "}", '"': '"'}.get(opening, ",}")
    depth = 0
    for end in range(start, len(rest)):
        if depth == 0 and rest[end] in ends:
            break
        depth += {"{": 1, "}": -1}.get(rest[end], 0)
    return " ".join(rest[start:end].split())


def family(author: str) -> str:
    """The family name of an author, TeX's accents turned into letters."""
    name = author.split(",")[0] if "," in author else author.split(" ")[-1]

    def letter(found):
        return unicodedata.normalize("NFC", found[2].replace(r"\i", "i") + ACCENTS[found[1]])

    marks = "".join(map(re.escape, ACCENTS))
    name = re.sub(rf"\\([{marks}])\s*\{{?(\\i|\w)\}}?", letter, name)
    return name.replace("{", "").replace("}", "").strip()


# Options of a layer and where they come from.
OPTIONS = {
    "variational": """
@inproceedings{gal2016theoretically,
  title     = {A Theoretically Grounded Application of Dropout in Recurrent Neural Networks},
  author    = {Gal, Yarin and Ghahramani, Zoubin},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2016}
}""",
    "zoneout": """
@inproceedings{krueger2017zoneout,
  title     = {Zoneout: Regularizing {RNNs} by Randomly Preserving Hidden Activations},
  author    = {Krueger, David and Maharaj, Tegan and Kram{\\'a}r, J{\\'a}nos and
               Pezeshki, Mohammad and Ballas, Nicolas and Ke, Nan Rosemary and Goyal, Anirudh and
               Bengio, Yoshua and Courville, Aaron and Pal, Christopher},
  booktitle = {International Conference on Learning Representations},
  year      = {2017}
}""",
    "weight_drop": """
@inproceedings{merity2018regularizing,
  title     = {Regularizing and Optimizing {LSTM} Language Models},
  author    = {Merity, Stephen and Keskar, Nitish Shirish and Socher, Richard},
  booktitle = {International Conference on Learning Representations},
  year      = {2018}
}""",
    "layer_norm": """
@article{ba2016layer,
  title   = {Layer Normalization},
  author  = {Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E.},
  journal = {arXiv:1607.06450},
  year    = {2016}
}""",
}
