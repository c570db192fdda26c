"""A small OpenAI-compatible server on loopback over a real model, which can be told to misbehave.

It answers like the real ones (which test_server_asker.py starts too): chat or completion, log probabilities of the likeliest
first tokens, or sampled text. ``faults`` says what goes wrong with which POST, counted from 0.
"""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

SLOW_SECONDS = 4
NOTHING = {"chat": True, "logprobs": True, "most_logprobs": 20, "limit_field": "max_tokens", "key": None}


@contextlib.contextmanager
def serving(folder, faults=None, **offers):
    """Serve the model in a folder; yields url, and requests: what was posted, in order."""
    state = SimpleNamespace(
        tokenizer=AutoTokenizer.from_pretrained(folder),
        model=AutoModelForCausalLM.from_pretrained(folder).eval(),
        faults=faults or {},
        requests=[],
        lock=threading.Lock(),
        **(NOTHING | offers),
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"state": state}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    state = None

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.reply(200, {"object": "list", "data": [{"id": "small", "created": time.time(), "meta": {"n_params": 1}}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.state.lock:
            number = len(self.state.requests)
            self.state.requests.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        fault = self.state.faults.get(number, self.state.faults.get("all"))
        if fault == "drop":
            self.close_connection = True
        elif fault == "garbage":
            self.reply(200, "{half a")
        elif fault == "busy":
            self.reply(429, {"error": {"message": "Rate limit reached"}}, {"Retry-After": "0.2"})
        elif isinstance(fault, int):
            self.reply(fault, {"error": {"message": f"told to answer {fault}"}})
        else:
            if fault == "slow":
                time.sleep(SLOW_SECONDS)
            self.answer(body)

    def answer(self, body):
        state, is_chat = self.state, self.path.endswith("/chat/completions")
        if state.key and self.headers.get("Authorization") != f"Bearer {state.key}":
            return self.reply(
                401, {"error": {"message": f"Incorrect API key provided: {self.headers.get('Authorization')}"}}
            )
        if self.path not in ("/v1/chat/completions", "/v1/completions") or (is_chat and not state.chat):
            return self.reply(404, {"detail": "Not Found"})
        if state.limit_field not in body:
            return self.reply(400, {"error": {"message": f"Unsupported parameter: use '{state.limit_field}' instead."}})
        wanted = body.get("top_logprobs") if is_chat else body.get("logprobs")
        if wanted is not None and wanted > state.most_logprobs:
            return self.reply(400, {"error": {"message": f"top_logprobs must be at most {state.most_logprobs}"}})
        ids = self.prompt(body, is_chat)
        if "TOO LONG" in state.tokenizer.decode(ids[0]):
            return self.reply(400, {"error": {"message": "This model's maximum context length is 1024 tokens."}})
        return self.reply(200, self.generated(body, ids, wanted if state.logprobs else None, is_chat))

    def prompt(self, body, is_chat):
        tokenizer = self.state.tokenizer
        if not is_chat:
            return tokenizer(body["prompt"], return_tensors="pt")["input_ids"]
        thinking = body.get("chat_template_kwargs", {})
        text = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True, **thinking)
        return tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]

    def generated(self, body, ids, wanted, is_chat):
        state = self.state
        with state.lock, torch.no_grad():
            torch.manual_seed(body.get("seed", 0))
            logprobs = state.model(input_ids=ids).logits[0, -1].log_softmax(-1)
            likeliest = logprobs.topk(wanted or 1)
            drawn = int(torch.multinomial(logprobs.exp(), 1)) if body["temperature"] else int(likeliest.indices[0])
        text = state.tokenizer.decode([drawn])
        listed = {
            state.tokenizer.decode([i]): p for i, p in zip(*map(torch.Tensor.tolist, likeliest[::-1]), strict=True)
        }
        choice = {"index": 0, "finish_reason": "length"}
        if is_chat:
            top = [{"token": token, "logprob": value} for token, value in listed.items()]
            content = [{"token": text, "logprob": float(logprobs[drawn]), "top_logprobs": top}]
            choice |= {
                "message": {"role": "assistant", "content": text},
                "logprobs": {"content": content} if wanted else None,
            }
        else:
            choice |= {"text": text, "logprobs": {"top_logprobs": [listed]} if wanted else None}
        return {"choices": [choice], "usage": {"prompt_tokens": ids.shape[1], "completion_tokens": 1}}

    def reply(self, status, body, headers=None):
        payload = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)
