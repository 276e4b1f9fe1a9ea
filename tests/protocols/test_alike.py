"""Messages of one length: the newest kinds of them are known."""

from setsail.protocols.alike import Alike


def test_a_length_that_is_full_forgets_its_oldest() -> None:
    seen: Alike[int] = Alike()
    messages = [b"kind %02d: ????" % number for number in range(20)]
    for number, message in enumerate(messages):
        assert seen.find(message) is None
        seen.learn(message, [(9, 13)], number)
        assert seen.find(message[:9] + b"1234") == number
    assert [seen.find(message) for message in messages[-8:]] == list(range(12, 20))
    assert seen.find(messages[0]) is None
