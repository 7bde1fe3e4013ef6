"""Clients that nobody here wrote, behind one call: ask(base_url, prompt, ...) gives an Answer.

Retries are off unless asked for: what the proxy answers first is what a test sees.
"""

import asyncio
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import openai

from .stack import NEAR, chat_body, read_events, text_of

NODE_CLIENT = Path(__file__).resolve().parents[1] / "node" / "client.mjs"


@dataclass
class Answer:
    text: str = ""
    finish: str = None
    pieces: int = 0
    reasoning: str = ""
    usage: dict = field(default_factory=dict)


def openai_client(url, retries=0, **more):
    return openai.OpenAI(base_url=url, api_key="unused", max_retries=retries, timeout=60, **more)


def gather(chunks):
    answer = Answer()
    for chunk in chunks:
        add_chunk(answer, chunk)
    return answer


def add_chunk(answer, chunk):
    answer.pieces += 1
    if chunk.usage:
        answer.usage = chunk.usage.model_dump()
    if chunk.choices:
        delta = chunk.choices[0].delta
        answer.text += delta.content or ""
        answer.reasoning += getattr(delta, "reasoning_content", None) or ""
        answer.finish = chunk.choices[0].finish_reason or answer.finish


def whole(completion):
    choice = completion.choices[0]
    return Answer(text=choice.message.content, finish=choice.finish_reason, pieces=1,
                  reasoning=getattr(choice.message, "reasoning_content", None) or "",
                  usage=completion.usage.model_dump() if completion.usage else {})


def openai_python(url, prompt, stream, model=NEAR, **more):
    with openai_client(url) as client:
        body = chat_body(prompt, model, **more)
        if stream:
            return gather(client.chat.completions.create(**body, stream=True))
        return whole(client.chat.completions.create(**body))


async def ask_async(client, prompt, stream, model=NEAR, **more):
    body = chat_body(prompt, model, **more)
    if not stream:
        return whole(await client.chat.completions.create(**body))
    answer = Answer()
    async for chunk in await client.chat.completions.create(**body, stream=True):
        add_chunk(answer, chunk)
    return answer


def openai_python_async(url, prompt, stream, model=NEAR, **more):
    async def run():
        async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0, timeout=60) as client:
            return await ask_async(client, prompt, stream, model, **more)

    return asyncio.run(run())


def langchain_model(url, model=NEAR, **more):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(base_url=url, api_key="unused", model=model, max_retries=0, timeout=60, **more)


def langchain(url, prompt, stream, model=NEAR, **more):
    chat = langchain_model(url, model, **more)
    if not stream:
        answer = chat.invoke(prompt)
        return Answer(text=answer.content, finish=answer.response_metadata.get("finish_reason"), pieces=1)
    answer = Answer()
    for piece in chat.stream(prompt):
        answer.text += piece.content
        answer.pieces += 1
        answer.finish = piece.response_metadata.get("finish_reason") or answer.finish
    return answer


def langchain_async(url, prompt, stream, model=NEAR, **more):
    import httpx

    async def run():
        # LangChain keeps one async HTTP client for the process, which outlives this loop: give it one of its own.
        async with httpx.AsyncClient() as http:
            return await ask(langchain_model(url, model, http_async_client=http, **more))

    async def ask(chat):
        if not stream:
            answer = await chat.ainvoke(prompt)
            return Answer(text=answer.content, finish=answer.response_metadata.get("finish_reason"), pieces=1)
        answer = Answer()
        async for piece in chat.astream(prompt):
            answer.text += piece.content
            answer.pieces += 1
            answer.finish = piece.response_metadata.get("finish_reason") or answer.finish
        return answer

    return asyncio.run(run())


def llamaindex_model(url, model=NEAR, **more):
    from llama_index.llms.openai_like import OpenAILike

    return OpenAILike(model=model, api_base=url, api_key="unused", is_chat_model=True, max_retries=0, timeout=60, **more)


def llamaindex(url, prompt, stream, model=NEAR, **more):
    from llama_index.core.llms import ChatMessage

    chat = llamaindex_model(url, model, **more)
    messages = [ChatMessage(role="user", content=prompt)]
    if not stream:
        answer = chat.chat(messages)
        return Answer(text=answer.message.content, finish=answer.raw.choices[0].finish_reason, pieces=1)
    answer = Answer()
    for piece in chat.stream_chat(messages):
        answer.text += piece.delta or ""
        answer.pieces += 1
        if piece.raw.choices:
            answer.finish = piece.raw.choices[0].finish_reason or answer.finish
    return answer


def curl(url, prompt, stream, model=NEAR, **more):
    body = json.dumps(chat_body(prompt, model, stream=stream, **more), ensure_ascii=False)
    run = subprocess.run(["curl", "-sS", "-N", "-m", "60", f"{url}/chat/completions", "-H",
                          "Content-Type: application/json", "--data-binary", "@-"], input=body.encode(),
                         capture_output=True, timeout=90)
    assert run.returncode == 0, run.stderr.decode()
    if not stream:
        return curl_whole(json.loads(run.stdout))
    events = read_events(run.stdout)
    assert events[-1] == "[DONE]", events[-1]
    finish = [c["finish_reason"] for e in events[:-1] for c in e["choices"] if c.get("finish_reason")]
    return Answer(text=text_of(events), finish=finish[-1] if finish else None, pieces=len(events) - 1,
                  reasoning=text_of(events, "reasoning_content"))


def curl_whole(answer):
    assert "error" not in answer, answer
    choice = answer["choices"][0]
    return Answer(text=choice["message"]["content"], finish=choice["finish_reason"], pieces=1, usage=answer["usage"])


def node(url, prompt, stream, model=NEAR, node_dir=None, retries=0, **more):
    """Raises NodeError for what the SDK raised."""
    question = {"baseURL": url, "request": chat_body(prompt, model, **more), "stream": stream, "retries": retries}
    # The client imports openai from the folder it lies in, which is why it is run from a copy beside node_modules.
    program = Path(node_dir) / NODE_CLIENT.name
    program.write_text(NODE_CLIENT.read_text())
    run = subprocess.run(["node", str(program), json.dumps(question)], capture_output=True, text=True, timeout=90)
    assert run.returncode == 0, run.stderr
    out = json.loads(run.stdout)
    if "error" in out:
        raise NodeError(out["error"])
    return Answer(text=out["text"], finish=out["finish"], pieces=out["chunks"], reasoning=out["reasoning"],
                  usage=out.get("usage") or {})


class NodeError(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.status, self.code, self.name = error["status"], error["code"], error["name"]


CLIENTS = {f.__name__: f for f in (openai_python, openai_python_async, langchain, langchain_async, llamaindex, curl, node)}
