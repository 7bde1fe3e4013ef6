// One question by the openai package for Node. Argument: a JSON object {baseURL, request, stream, retries}.
// Prints {text, finish, usage} or {error: {status, code, message, name}} as JSON.
import OpenAI from "openai";

const { baseURL, request, stream, retries = 0 } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: retries, timeout: 30000 });
const out = { text: "", reasoning: "", finish: null, chunks: 0 };
try {
  if (stream) {
    for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
      out.chunks++;
      const choice = chunk.choices[0];
      out.text += choice?.delta?.content ?? "";
      out.reasoning += choice?.delta?.reasoning_content ?? "";
      out.finish = choice?.finish_reason ?? out.finish;
      if (chunk.usage) out.usage = chunk.usage;
    }
  } else {
    const answer = await client.chat.completions.create(request);
    out.text = answer.choices[0].message.content;
    out.finish = answer.choices[0].finish_reason;
    out.usage = answer.usage;
  }
} catch (error) {
  out.error = { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null,
    message: String(error.message) };
}
console.log(JSON.stringify(out));
