"""Questions that follow each other: what is sent, what is shown, what is kept."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_serving.demo.conversations import Conversation, Picture, Question, Turn, plain_name
from generalist_serving.demo.store import MAX_CONVERSATIONS, Store


def picture(name: str = "dog.png", size: tuple[int, int] = (40, 30), **options: object) -> Picture:
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 9, 9)).save(buffer, "PNG", **options)  # type: ignore[arg-type]
    return Picture.read(buffer.getvalue(), name)


def answered(talk: Conversation, words: str, text: str = "Yes.", shown: Picture | None = None) -> Turn:
    turn = talk.ask(Question(words=words, picture=shown or talk.shown))
    turn.state, turn.text = "done", text
    return turn


# --- pictures ------------------------------------------------------------------------------------------------


def test_a_picture_is_upright_and_has_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010E] = "taken at home"
    turned = picture(size=(40, 30), exif=exif)
    assert turned.size == turned.image().size == (30, 40)
    assert b"taken at home" not in turned.data


def test_a_large_picture_is_kept_as_jpeg() -> None:
    assert picture(size=(2001, 2000)).media_type == "image/jpeg" and picture().media_type == "image/png"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\dog.png", "dog.png"),
        ("a\u202egnp.exe\n", "agnp.exe"),
        ("", "picture"),
        ("x" * 300 + ".png", "x" * 76 + ".png"),
    ],
)
def test_names_lose_folders_and_control_signs(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_what_is_no_picture_is_refused_by_its_name() -> None:
    with pytest.raises(GeneralistError, match=r"notes\.txt: not a readable image"):
        Picture.read(b"hello", "notes.txt")


# --- questions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "words", "text"),
    [
        ("chat", "Where is  it?", "Where is it?"),
        ("chat", "the dog", "the dog"),
        ("segment", "the red apple", "Segment the red apple."),
        ("segment", "Segment the red apple.", "Segment the red apple."),
        ("depth", "", "Estimate the depth."),
        ("depth", "How far is it?", "How far is it?"),
        ("caption", " ", "Describe the image."),
        ("detect", "", "Detect all objects."),
        ("count", "", ""),
    ],
)
def test_the_words_of_a_question(task: str, words: str, text: str) -> None:
    assert Question(words=words, task=task).text() == text


def test_a_question_that_asks_nothing_is_refused() -> None:
    talk = Conversation()
    with pytest.raises(GeneralistError, match="there is no question"):
        talk.ask(Question(words="  "))
    assert talk.turns == []


# --- what is sent --------------------------------------------------------------------------------------------


def test_a_follow_up_sends_the_picture_once() -> None:
    talk, dog = Conversation(), picture()
    talk.add([dog])
    answered(talk, "What is this?", "A dog.")
    turn = talk.ask(Question(words="And its nose?", picture=dog))
    messages = talk.messages(turn)
    assert [(m.role, m.text, len(m.images)) for m in messages] == [
        ("user", "What is this?", 1),
        ("assistant", "A dog.", 0),
        ("user", "And its nose?", 0),
    ]
    assert turn.sent == (dog,)


def test_several_pictures_go_together_and_the_shown_one_is_last() -> None:
    talk, dog, cat = Conversation(), picture("dog.png"), picture("cat.png")
    talk.add([dog, cat])
    talk.show(dog)
    turn = talk.ask(Question(words="Compare.", picture=talk.shown))
    assert turn.sent == (cat, dog)


def test_an_earlier_picture_is_sent_again_for_a_question_about_it() -> None:
    talk, dog, cat = Conversation(), picture("dog.png"), picture("cat.png")
    talk.add([dog])
    answered(talk, "What is this?")
    talk.add([cat])
    answered(talk, "And this?")
    turn = talk.ask(Question(words="Back to the dog?", picture=dog))
    assert turn.sent == (dog, cat, dog)
    turn.visual = [{"index": 0, "image": 2}, {"index": 1, "image": 1}]
    assert [entry["index"] for entry in turn.on(dog)] == [0]


def test_what_came_to_nothing_is_not_sent_and_its_picture_is() -> None:
    talk, dog = Conversation(), picture()
    talk.add([dog])
    talk.ask(Question(words="Where?", picture=dog)).state = "failed"
    turn = talk.ask(Question(words="Where now?", picture=dog))
    assert [m.text for m in talk.messages(turn)] == ["Where now?"] and turn.pictures == (dog,)


def test_what_was_drawn_goes_with_the_question() -> None:
    talk, dog = Conversation(), picture()
    talk.add([dog])
    drawn = ({"type": "box", "box": [0, 0, 20, 15]},)
    turn = talk.ask(Question(words="What is this?", picture=dog, prompts=drawn))
    (message,) = talk.messages(turn)
    assert message.visual_prompts[0].xyxy == (0, 0, 0.5, 0.5)


def test_what_is_drawn_outside_is_refused() -> None:
    talk, dog = Conversation(), picture()
    talk.add([dog])
    turn = talk.ask(Question(words="What?", picture=dog, prompts=({"type": "point", "point": [400, 1]},)))
    with pytest.raises(GeneralistError, match="outside"):
        talk.messages(turn)


# --- what is shown -------------------------------------------------------------------------------------------


def test_a_unit_is_shown_on_its_own_picture() -> None:
    talk, dog, cat = Conversation(), picture("dog.png"), picture("cat.png")
    talk.add([dog, cat])
    turn = answered(talk, "Compare.")
    turn.visual = [{"index": 0, "image": 0}, {"index": 1, "image": 1}]
    talk.show_turn(turn.id, 0)
    assert (talk.shown, talk.shown_turn) == (turn.sent[0], turn)
    talk.show_turn("no such turn", {})
    assert talk.shown is turn.sent[0]


def test_only_what_was_not_asked_about_is_removed() -> None:
    talk, dog, cat = Conversation(), picture("dog.png"), picture("cat.png")
    talk.add([dog])
    answered(talk, "What?")
    talk.add([cat])
    talk.remove(dog)
    assert talk.pictures == [dog, cat]
    talk.remove(cat)
    assert talk.pictures == [dog] and talk.shown is dog


def test_the_title_is_the_first_question() -> None:
    talk = Conversation()
    assert talk.title == "New conversation"
    talk.add([picture("dog.png")])
    assert talk.title == "dog.png"
    answered(talk, "What is this thing that stands in the corner over there?")
    assert talk.title.startswith("What is this thing") and len(talk.title) == 48


# --- the store -----------------------------------------------------------------------------------------------


def test_a_visitor_is_known_by_a_secret_only() -> None:
    store = Store()
    visitor = store.visitor("")
    assert store.visitor(visitor.id) is visitor
    for guess in ("", None, 7, ["x"], visitor.id[:-1]):
        assert store.visitor(guess) is not visitor


def test_an_empty_conversation_is_used_again_and_old_ones_are_forgotten() -> None:
    visitor = Store().visitor("")
    first = visitor.begin()
    assert visitor.begin() is first
    for _ in range(MAX_CONVERSATIONS + 5):
        visitor.begin().add([picture()])
    assert len(visitor.conversations) == MAX_CONVERSATIONS and first not in visitor.conversations


def test_there_is_always_a_conversation() -> None:
    visitor = Store().visitor("")
    (only,) = visitor.conversations
    fresh = visitor.forget(only)
    assert visitor.conversations == [fresh] and fresh is not only


def test_pictures_are_kept_within_a_limit() -> None:
    dog, cat = picture("dog.png"), picture("cat.png")
    store = Store(max_bytes=len(dog.data) + len(cat.data) - 1)
    store.keep(dog)
    store.keep(cat)
    assert store.picture(dog.id) is None and store.picture(cat.id) is cat and store.picture(None) is None
