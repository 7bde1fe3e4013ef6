"""Unmodified clients, streaming and not: what the user gets is what the model said."""

import asyncio
import concurrent.futures
import inspect
import threading
import time

import openai
import pytest

from harness import clients
from harness.clients import CLIENTS
from harness.process import wait_until
from harness.stack import ACI, MODELS, NEAR, PHALA

LONG = 200_000


@pytest.fixture(params=list(CLIENTS))
def ask(request, proxy, node_dir):
    function = CLIENTS[request.param]
    more = {"node_dir": node_dir} if "node_dir" in inspect.signature(function).parameters else {}

    def run(prompt, stream, **options):
        return function(proxy.url, prompt, stream, **more, **options)

    run.name = request.param
    return run


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("model", MODELS)
def test_answer(ask, stream, model):
    answer = ask("Tell me: what is 2 + 2?", stream, model=model)
    assert answer.text == "You said: Tell me: what is 2 + 2?"
    assert answer.finish == "stop"
    if stream:
        assert answer.pieces > 3, "an answer in one piece was not streamed"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_unicode(ask, stream):
    """Pieces of three bytes: every cut that can go wrong does."""
    text = "Grüße, 你好世界, 👩‍🚀 é \U0010ffff \u2028 مرحبا"
    answer = ask(f"sim:piece=3 sim:reply={text}", stream)
    assert answer.text == text


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_awkward_text(ask, stream):
    """Texts that look like JSON, SSE or HTML pass as they are."""
    text = 'data: [DONE]\n\ndata: {"x": "\\u0041"}\r\n\t[1, 2] "quoted" \\ </script> \x7f'
    assert ask(f"sim:reply={text}", stream).text == text


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_long_answer(ask, stream):
    answer = ask(f"sim:kind=long,length={LONG},piece=500", stream)
    sentence = "The quick brown fox jumps over the lazy dog. "
    assert answer.text == sentence * (len(answer.text) // len(sentence))
    assert len(answer.text) >= LONG


def test_odd_model_id(proxy):
    """An id with every character that a URL cannot hold as it is."""
    model = "odd/n\u00e4me +v1.5?a=b&c#d%41\"e'<\\>"
    assert clients.openai_python(proxy.url, "who?", True, model=model).text == "You said: who?"


def test_long_prompt(proxy, sanitized):
    """Its answer comes in 40,000 pieces, each under a key of its own: 10,000 where each derivation takes a millisecond."""
    prompt = "long and secret " * (5_000 if sanitized else 20_000)
    assert clients.openai_python(proxy.url, prompt, False).text == f"You said: {prompt}"


def pieces_held_back(proxy, sim, delay_ms):
    """How many pieces the enclave was ahead of the client at most, and how many came."""
    ahead, came, before = 0, 0, sim.stats()["fields_sealed"]
    with clients.openai_client(proxy.url) as client:
        for chunk in client.chat.completions.create(model=NEAR, stream=True, messages=[
                {"role": "user", "content": f"sim:chunks=20,delay_ms={delay_ms}"}]):
            if chunk.choices and chunk.choices[0].delta.content:
                came += 1
                ahead = max(ahead, sim.stats()["fields_sealed"] - before - came)
    return ahead, came


def test_streaming_is_live(proxy, sim):
    """Each piece is given as soon as it is there. A machine that is busy elsewhere gets more time between them: what
    would be held back is held back at any pace."""
    for delay_ms in (100, 300, 1000):
        ahead, came = pieces_held_back(proxy, sim, delay_ms)
        assert came == 20
        if ahead <= 2:
            return
    raise AssertionError(f"{ahead} of 20 pieces were held back")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_many_at_once(proxy, stream):
    async def run():
        async with openai.AsyncOpenAI(base_url=proxy.url, api_key="unused", max_retries=0, timeout=60) as client:
            return await asyncio.gather(*[
                clients.ask_async(client, f"sim:piece=5 question {i} " + "x" * i, stream, MODELS[i % 3])
                for i in range(32)])

    for i, answer in enumerate(asyncio.run(run())):
        assert answer.text == f"You said: sim:piece=5 question {i} " + "x" * i


def test_many_mixed_clients(proxy, node_dir):
    """Different clients at the same time do not see each other's answers."""
    jobs = []
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for i in range(3):
            for name in ("openai_python", "langchain", "llamaindex", "curl"):
                prompt = f"{name} asks number {i}"
                jobs.append((prompt, pool.submit(CLIENTS[name], proxy.url, prompt, i % 2 == 0)))
        for prompt, job in jobs:
            assert job.result().text == f"You said: {prompt}"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning(proxy, field):
    events = clients.openai_client(proxy.url).chat.completions.create(
        model=NEAR, stream=True, messages=[{"role": "user", "content": f"sim:reasoning=3,field={field} why?"}])
    thought, text = "", ""
    for event in events:
        for choice in event.choices:
            thought += getattr(choice.delta, field, None) or ""
            text += choice.delta.content or ""
    assert thought == "step 0. step 1. step 2. "
    assert text.startswith("You said: ")


def test_reasoning_whole(proxy):
    answer = clients.openai_python(proxy.url, "sim:reasoning=2 why?", False)
    assert answer.reasoning == "step 0. step 1. "


def test_several_choices(proxy):
    with clients.openai_client(proxy.url) as client:
        answer = client.chat.completions.create(model=NEAR, n=3, messages=[{"role": "user", "content": "three"}])
    assert sorted(c.index for c in answer.choices) == [0, 1, 2]
    assert all("You said: three" in c.message.content for c in answer.choices)


@pytest.mark.parametrize("asked", [True, False])
def test_usage_only_when_asked(proxy, asked):
    more = {"stream_options": {"include_usage": True}} if asked else {}
    answer = clients.openai_python(proxy.url, "count", True, **more)
    assert bool(answer.usage) == asked


def test_usage_in_whole_answers(proxy):
    usage = clients.openai_python(proxy.url, "count", False).usage
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_stop_is_applied_here(proxy, sim, stream):
    """stop never leaves; the proxy cuts the answer itself, also when the word comes in pieces."""
    answer = clients.openai_python(proxy.url, "sim:piece=2 sim:reply=one two STOP three", stream, stop=["never", "STOP"])
    assert (answer.text, answer.finish) == ("one two ", "stop")
    assert b'"stop"' not in sim.requests_raw()


def test_history_and_every_role(proxy, sim):
    messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "hi", "reasoning_content": "greet"},
                {"role": "user", "content": "[1, 2, 3]"}]
    with clients.openai_client(proxy.url) as client:
        answer = client.chat.completions.create(model=ACI, messages=messages)
    assert answer.choices[0].message.content == "You said: [1, 2, 3]"


def test_image_parts(proxy):
    parts = [{"type": "text", "text": "what is this?"},
             {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    with clients.openai_client(proxy.url) as client:
        answer = client.chat.completions.create(model=NEAR, messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content.startswith("You said: what is this?")
    assert "image" in answer.choices[0].message.content


def hang_up(proxy, sim, moment, model):
    """Seconds from the end of a client to the end of its upstream transfer."""
    wait_until("no open transfer", lambda: sim.stats()["transfers_open"] == 0)
    prompt = "sim:chunks=1000,delay_ms=50" + (",first_ms=20000" if moment == "before" else "")
    client = clients.openai_client(proxy.url)
    seen = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        def question():
            with client.chat.completions.create(model=model, stream=True, messages=[
                    {"role": "user", "content": prompt}], timeout=1.0 if moment == "before" else 30) as stream:
                for _ in stream:
                    seen.wait(30)  # the transfer must be looked at before it ends
                    break

        job = pool.submit(question)
        wait_until("the transfer began", lambda: sim.stats()["transfers_open"] == 1)
        seen.set()
        if moment == "before":
            with pytest.raises(openai.APITimeoutError):
                job.result()
        else:
            job.result()
        client.close()
        gone = time.monotonic()
        wait_until("the transfer ended", lambda: sim.stats()["transfers_open"] == 0, 8.0)
        return time.monotonic() - gone


@pytest.mark.parametrize("moment", ["before", "during"])
@pytest.mark.parametrize("model", [NEAR, PHALA])
def test_hang_up(proxy, sim, sanitized, moment, model):
    """A client that goes away ends its upstream transfer within a second. The best of three counts: the machine may be
    busy elsewhere for as long."""
    done = sim.stats()["streams_done"]
    took = []
    while len(took) < 3 and (not took or min(took) > 1.0):
        took.append(hang_up(proxy, sim, moment, model))
    assert min(took) <= (3.0 if sanitized else 1.0), took
    assert sim.stats()["streams_done"] == done, "the upstream's answer was read to its end"


def test_default_retries_do_not_multiply(proxy, sim):
    """An answer that a repetition cannot mend says so: the SDK asks once."""
    before = sim.stats()["chat_requests"]
    with clients.openai_client(proxy.url, retries=2) as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=NEAR, messages=[{"role": "user", "content": "sim:fault=plaintext-content"}])
    assert caught.value.code == "plaintext_from_upstream"
    assert sim.stats()["chat_requests"] == before + 1
