"""Tokenizers keep what they promise of any text; an embedding is its one-hot product."""

import json
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from unrolled.errors import ModelError, UsageError
from unrolled.text import (
    BOS,
    EOS,
    PAD,
    SPECIAL,
    UNK,
    Characters,
    Subwords,
    Words,
    compose,
    decompose,
    from_json,
    learn,
)
from unrolled.text.embedding import Embedding, OneHot, from_config

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
MIXED = st.one_of(
    TEXTS,
    st.text("가각힣각한글 abcÀİß😀👨‍👩‍👧שלוםنص\u0301\n\t", max_size=60),
)
SAMPLE = ["the cat sat on the mat", "그녀는 영화를 봤다", "שלום 😀", "a <unk> <pad> b"]


@given(MIXED, st.booleans(), st.sampled_from(["NFC", "NFKC"]), st.booleans())
def test_known_characters_come_back_as_the_normalised_text(text, lower, form, jamo):
    letters = Characters.learn([text], lower=lower, form=form, jamo=jamo)
    normal = letters.normalise(text)
    assert letters.decode(letters.encode(text)) == normal
    assert letters.normalise(normal) == normal
    assert UNK not in letters.encode(text)


@given(MIXED)
def test_jamo_are_unicodes_own_decomposition_of_syllables(text):
    text = unicodedata.normalize("NFC", text)
    assert compose(decompose(text)) == text
    syllables = "".join(c for c in text if "가" <= c <= "힣")
    assert decompose(syllables) == unicodedata.normalize("NFD", syllables)


@given(MIXED, st.booleans())
def test_known_words_come_back_with_single_blanks(text, lower):
    words = Words.learn([text], lower=lower, split_at="blanks")
    back = words.decode(words.encode(text))
    shown = [w if w not in SPECIAL else "<unk>" for w in words.normalise(text).split()]
    assert back == " ".join(shown)


@given(MIXED)
def test_words_apart_from_punctuation_come_back_to_the_same_numbers(text):
    words = Words.learn([text])
    ids = words.encode(text)
    assert words.encode(words.decode(ids)) == ids
    assert "".join(words.split(words.normalise(text))).replace(" ", "") == "".join(
        words.normalise(text).split()
    ).replace(" ", "")


PIECES = Subwords.learn(SAMPLE * 9, size=300)


@given(MIXED, st.booleans(), st.booleans())
@settings(max_examples=50)
def test_subwords_know_every_text(text, bos, eos):
    ids = PIECES.encode(text, bos=bos, eos=eos)
    assert PIECES.decode(ids) == PIECES.normalise(text)
    assert UNK not in ids
    assert ids[:1] == [BOS] if bos else BOS not in ids
    assert ids[-1:] == [EOS] if eos else EOS not in ids


STEMS = Subwords.learn([*SAMPLE, "간다 갔다 간", "본다 봤다 본"] * 9, size=400, jamo=True)


@given(MIXED)
@settings(max_examples=50)
def test_subwords_of_letters_of_hangul_know_every_text(text):
    ids = STEMS.encode(text)
    assert STEMS.decode(ids) == STEMS.normalise(text)
    assert UNK not in ids


def test_subwords_may_part_a_syllable_and_older_files_read_syllables():
    whole = Subwords.learn(["간다 본다 산다 한다"] * 9, size=290)
    parted = Subwords.learn(["간다 본다 산다 한다"] * 9, size=290, jamo=True)
    pieces = [parted.decode([number]) for number in range(260, len(parted))]
    assert any("\u11a8" <= piece[:1] <= "\u11c2" for piece in pieces)  # begins with a last letter
    assert all("\ufffd" in piece or compose(piece) == piece for piece in pieces)
    assert parted.decode(parted.encode("탄다")) == "탄다"
    table = whole.to_json()
    assert table.pop("jamo") is False
    assert from_json(table) == whole
    assert from_json(parted.to_json()) == parted != whole
    with pytest.raises(UsageError, match="jamo: expected form NFC"):
        Subwords.learn(SAMPLE, form="none", jamo=True)


def test_half_a_surrogate_pair_does_not_stop_subwords():
    assert PIECES.decode(PIECES.encode("a\ud800b")) == "a?b"


@pytest.mark.parametrize("level", ["characters", "words", "subwords"])
def test_a_tokenizer_comes_back_from_its_json(level):
    one = learn(level, SAMPLE)
    other = from_json(json.loads(json.dumps(one.to_json())))
    assert other == one
    assert other.tokens[:4] == list(SPECIAL)
    for text in (*SAMPLE, "new words 새말 🙂"):
        assert other.encode(text) == one.encode(text)
    assert len(set(one.tokens)) == len(one) == len(one.numbers)


def test_a_text_cannot_spell_a_special_token():
    words = Words.learn(SAMPLE, split_at="blanks")
    assert words.encode("a <pad> <eos> <unk> b")[1:4] == [UNK, UNK, UNK]
    assert words.decode([BOS, *words.encode("a b"), EOS, PAD]) == "a b"


def test_a_vocabulary_is_the_most_frequent_and_ties_go_by_letters():
    words = Words.learn(["b a c a b d"], size=7)
    assert words.tokens[4:] == ["a", "b", "c"]
    assert Words.learn(["b a c a b d"], least=2).tokens[4:] == ["a", "b"]
    assert words.encode("d a") == [UNK, 4]


def test_what_nobody_has_seen_is_unknown_and_shown_so():
    letters = Characters.learn(["abc"])
    assert letters.encode("axb") == [4, UNK, 5]
    assert letters.decode([4, UNK, 5]) == "a<unk>b"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "the level characters, words, subwords"),
        ({"level": "pickle"}, "the level characters, words, subwords"),
        ({"level": "words", "tokens": list(SPECIAL)}, "form, lower, split_at missing or unknown"),
        (
            {**Characters.learn(["a"]).to_json(), "tokens": ["a"]},
            "<pad>, <unk>, <bos>, <eos> first",
        ),
        ({**Characters.learn(["a"]).to_json(), "tokens": 7}, "first"),
        ({**Characters.learn(["a"]).to_json(), "tokens": [*SPECIAL, "a", "a"]}, "one twice"),
        ({**Characters.learn(["a"]).to_json(), "form": "NFD"}, "form: expected one of NFC"),
        ({**PIECES.to_json(), "merges": [["a", "qq"]]}, "pairs of its tokens"),
        ({**PIECES.to_json(), "merges": "ab"}, "pairs of its tokens"),
    ],
)
def test_a_tokenizer_that_is_none_is_refused(table, message):
    with pytest.raises(ModelError) as error:
        from_json(table)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: learn("syllables", SAMPLE), "level: expected one of characters, words, subwords"),
        (lambda: Words.learn(SAMPLE, least=0), "least: expected a whole number of at least 1"),
        (lambda: Words.learn(SAMPLE, size=4), "vocabulary: expected more than 4"),
        (lambda: Words.learn(SAMPLE, split_at="tabs"), "split_at: expected blanks or words"),
        (lambda: Subwords.learn(SAMPLE, size=100), "vocabulary: expected at least 260"),
        (lambda: Characters.learn(SAMPLE, form="none", jamo=True), "jamo: expected form NFC"),
        (lambda: PIECES.decode([300]), "a token's number: expected 0 to 299, got 300"),
        (lambda: Embedding(0, 3), "embedding size: expected a whole number"),
        (lambda: Embedding(3, 3, dropout=1), "embedding dropout: expected 0 ≤ it < 1"),
    ],
)
def test_an_option_that_cannot_be_is_refused(make, message):
    with pytest.raises(UsageError) as error:
        make()
    assert message in str(error.value)


def test_a_look_up_is_the_product_with_the_one_hot_matrix_and_so_is_its_gradient():
    torch.manual_seed(0)
    embedding = Embedding(7, 5)
    ids = torch.tensor([[1, 6, 6], [3, 0, 0]])
    dense = embedding.weight.detach().clone().requires_grad_()
    product = functional.one_hot(ids, 7).to(torch.float32) @ dense
    looked_up = embedding(ids)
    assert torch.equal(looked_up, product)
    push = torch.randn(2, 3, 5)
    push[1, 1:] = 0  # what follows a sequence's end is padding
    (looked_up * push).sum().backward()
    (product * push).sum().backward()
    torch.testing.assert_close(embedding.weight.grad, dense.grad)
    hot = OneHot(7)(ids)
    assert torch.equal(hot[0], functional.one_hot(ids[0], 7).float())
    assert not hot[1, 1:].any()


def test_a_dropped_token_is_dropped_in_all_its_places():
    torch.manual_seed(0)
    embedding = Embedding(50, 3, token_dropout=0.5)
    ids = torch.arange(4, 50).repeat(2, 1)
    out = embedding(ids)
    gone = (out == 0).all(dim=2)
    assert torch.equal(gone[0], gone[1])
    assert 0 < gone[0].sum() < 46
    torch.testing.assert_close(out[~gone], 2 * embedding.weight[ids[~gone]])
    assert torch.equal(embedding.eval()(ids), embedding.weight[ids])


def test_frozen_vectors_get_no_gradient_until_they_are_learnt_again():
    embedding = Embedding(6, 2, frozen=True)
    assert not embedding(torch.tensor([[4]])).requires_grad
    embedding.freeze(False)
    embedding(torch.tensor([[4]])).sum().backward()
    assert embedding.weight.grad[4].tolist() == [1, 1]


@pytest.mark.parametrize("module", [OneHot(5), Embedding(6, 2, dropout=0.1, frozen=True)])
def test_an_encoder_comes_back_from_its_configuration(module):
    again = from_config(json.loads(json.dumps(module.config())))
    assert again.config() == module.config()
    assert again.state_dict().keys() == module.state_dict().keys()
    with pytest.raises(ModelError, match="a kind of embedding"):
        from_config({**module.config(), "hook": "x"})


def test_given_vectors_are_kept_and_the_rest_has_their_spread():
    torch.manual_seed(0)
    embedding = Embedding(1000, 8)
    rows = torch.randn(1000, 8) * 3
    known = torch.zeros(1000, dtype=torch.bool)
    known[4:500] = True
    embedding.load(rows, known)
    assert torch.equal(embedding.weight[4:500], rows[4:500])
    assert not embedding.weight[PAD].any()
    assert 2.7 < embedding.weight[500:].std() < 3.3


def test_tokenizers_load_no_torch():
    import subprocess
    import sys

    code = "import unrolled.text, sys; print('torch' in sys.modules, 'tokenizers' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
