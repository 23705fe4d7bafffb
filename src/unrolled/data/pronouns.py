"""A seed comes in; short stories in English and Korean go out, each with whom it speaks of last.

Every story ends before a pronoun. Whoever was its last *subject* decides between 그 (he) and 그녀
(she); people who are merely seen, called or waited for do not. Names of the test part are not in
the training part, and its stories are longer, so that a network has to learn to forget.
"""

from __future__ import annotations

import random
import re

import numpy as np

from .raw import Raw
from .reading import Parts

LABELS = ("그 · he", "그녀 · she")
COUNTS = {"train": 8000, "valid": 1000, "test": 2000}
_SENTENCES = {"train": (2, 7), "valid": (2, 7), "test": (7, 14)}
_NAMES = {
    "en": (
        "Adam Alex Amy Anna Ben Bob Carl Dan Emma Eve Gail Hugo Ida Ivan Jack Jane Kim Leo Lisa "
        "Max Mia Nina Noah Olga Otto Pam Ray Rose Sam Tina Tom Uma Vera Will Zoe Finn Greta Hal "
        "Iris Joel"
    ).split(),
    "ko": (
        "민수 지영 서준 하은 도윤 수아 예준 지우 시우 서연 주원 하윤 지호 민서 준우 채원 현우 "
        "지아 건우 다은 우진 은서 선우 예은 민재 소율 유준 가은 정우 나은 승우 유나 태윤 소희 "
        "동현 미라 영호 순이 철수 영희"
    ).split(),
}
# m and f: the words for the two; {n} a name, {o} a word for the other person of either gender.
_WORDS = {
    "en": {
        "m": {"who": "a man", "kin": "brother", "sub": "he", "pos": "his"},
        "f": {"who": "a woman", "kin": "sister", "sub": "she", "pos": "her"},
    },
    "ko": {
        "m": {"who": "남자", "kin": "형제", "sub": "그는", "pos": "그의"},
        "f": {"who": "여자", "kin": "자매", "sub": "그녀는", "pos": "그녀의"},
    },
}
_COMES = {
    "en": ["then {who} named {n} came in .", "{who} called {n} took the chair .",
           "after that {who} named {n} began to speak ."],
    "ko": ["{n} 라는 {who} 가 들어왔다 .", "{n} 라는 {who} 가 자리에 앉았다 .",
           "그때 {n} 라는 {who} 가 말을 시작했다 ."],
}  # fmt: skip
_GOES_ON = {
    "en": ["{sub} saw {o_who} named {o} in the street .", "{sub} called {o} , {pos} {o_kin} .",
           "{sub} waited for {o_who} named {o} .", "{sub} read a long letter ."],
    "ko": ["{sub} 길에서 {o} 라는 {o_who} 를 보았다 .", "{sub} {pos} {o_kin} {o} 에게 전화했다 .",
           "{sub} {o} 라는 {o_who} 를 기다렸다 .", "{sub} 긴 편지를 읽었다 ."],
}  # fmt: skip
_MEANWHILE = {
    "en": ["it rained all day .", "the door was open .", "a dog barked at {o_who} outside .",
           "somebody spoke about {o_who} named {o} ."],
    "ko": ["하루 종일 비가 왔다 .", "문은 열려 있었다 .", "밖에서 개가 {o_who} 를 보고 짖었다 .",
           "누군가 {o} 라는 {o_who} 이야기를 했다 ."],
}  # fmt: skip
_ASKS = {"en": "the one who sat there was", "ko": "거기 앉아 있던 사람은"}


def story(part: str, rng: random.Random) -> tuple[str, int]:
    """One story for a part, and the number of its answer.

    Example:
        >>> text, answer = story("train", random.Random(0))
        >>> text.split()[-1] in ("was", "사람은"), answer in (0, 1)
        (True, True)
    """
    language = rng.choice(["en", "ko"])
    names = _NAMES[language]
    names = names[30:] if part == "test" else names[:30]
    gender = rng.choice("mf")
    said = [_said(rng.choice(_COMES[language]), language, gender, names, rng)]
    for _ in range(rng.randrange(*_SENTENCES[part])):
        drawn = rng.random()
        if drawn < 0.25:
            gender = rng.choice("mf")
            said.append(_said(rng.choice(_COMES[language]), language, gender, names, rng))
        else:
            kind = _GOES_ON if drawn < 0.6 else _MEANWHILE
            said.append(_said(rng.choice(kind[language]), language, gender, names, rng))
    return " ".join([*said, _ASKS[language]]), "mf".index(gender)


def stories() -> Parts:
    """All three parts; the same ones every time."""
    return Parts(_part("train"), valid=lambda: _part("valid"), test=lambda: _part("test"))


def subjects(text: str) -> np.ndarray:
    """Whom a story speaks of at each letter: 1 a woman, 0 a man, NaN before the first.

    Example:
        >>> subjects("a man called Tom took the chair . it rained all day .")[[0, 4, -1]].tolist()
        [nan, 0.0, 0.0]
    """
    found = np.full(len(text), np.nan)
    turns: list[tuple[int, float]] = []
    for language, templates in _COMES.items():
        words = {_WORDS[language][gender]["who"]: float(gender == "f") for gender in "mf"}
        one = "|".join(map(re.escape, words))
        for template in templates:
            pattern = re.escape(template).replace(r"\{who\}", f"(?P<who>{one})")
            pattern = r"(?:^|(?<=\. ))" + pattern.replace(r"\{n\}", r"\S+")
            turns += [(m.end("who") - 1, words[m["who"]]) for m in re.finditer(pattern, text)]
    for place, gender in sorted(turns):
        found[place:] = gender
    return found


def _said(template: str, language: str, gender: str, names: list[str], rng: random.Random) -> str:
    other = _WORDS[language][rng.choice("mf")]
    mine = _WORDS[language][gender]
    one, another = rng.sample(names, 2)
    filled = {f"o_{key}": value for key, value in other.items()}
    return template.format(**mine, **filled, n=one, o=another)


def _part(part: str) -> Raw:
    rng = random.Random(f"pronouns {part}")  # seeded by text: the same on every machine
    pairs = [story(part, rng) for _ in range(COUNTS[part])]
    return Raw(
        [text for text, _ in pairs],
        "text",
        "texts",
        answers=np.array([answer for _, answer in pairs], np.int64),
        labels=list(LABELS),
        columns=["text"],
        source="unrolled.data.pronouns",
    )
