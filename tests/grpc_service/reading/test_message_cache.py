"""The message cache: recently used messages within its size."""

from concurrent.futures import ThreadPoolExecutor

from earthsignature_grpc.reading.message_cache import MessageCache


def test_recently_used_messages_stay() -> None:
    cache = MessageCache(80)
    for key in range(8):
        cache.keep(key, bytes(10))
    assert cache.get(0) is not None
    cache.keep(8, bytes(10))
    assert (cache.get(0), cache.get(1)) == (bytes(10), None)


def test_a_large_message_does_not_displace_the_others() -> None:
    cache = MessageCache(80)
    cache.keep("small", b"x")
    cache.keep("large", bytes(11))
    assert (cache.get("small"), cache.get("large")) == (b"x", None)
    MessageCache(0).keep("nothing", b"x")


def test_threads_may_share_it() -> None:
    cache = MessageCache(1000)

    def keep_and_get(number: int) -> None:
        cache.keep(number % 50, bytes(number % 100))
        cache.get(number % 7)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(keep_and_get, range(5000)))
    assert cache._bytes == sum(map(len, cache._messages.values())) <= 1000
