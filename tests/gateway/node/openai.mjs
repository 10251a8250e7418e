// One scenario with the OpenAI SDK: node openai.mjs GATEWAY_URL KEY SCENARIO. Prints what came of it as JSON.
import OpenAI from "openai";

const [url, apiKey, scenario] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/llm/v1`, apiKey, maxRetries: 0 });
const ask = { model: "alias", messages: [{ role: "user", content: "hello gateway" }] };
const respond = { model: "alias", input: "hello gateway" };
const parameters = {
  type: "object",
  properties: { order_number: { type: "integer" } },
  required: ["order_number"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "get_order", parameters } }];

const scenarios = {
  async chat() {
    const { data, response } = await client.chat.completions.create(ask).withResponse();
    return {
      text: data.choices[0].message.content,
      model: data.model,
      usage: data.usage,
      call: response.headers.get("signalbox-llm-call-id"),
    };
  },
  async stream() {
    let text = "";
    let chunks = 0;
    const options = { stream: true, stream_options: { include_usage: true } };
    let usage = null;
    for await (const chunk of await client.chat.completions.create({ ...ask, ...options })) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
      chunks += 1;
    }
    return { text, chunks, usage };
  },
  async tools() {
    const whole = await client.chat.completions.create({ ...ask, tools });
    const streamed = await client.chat.completions.stream({ ...ask, tools }).finalChatCompletion();
    return [whole, streamed].map(({ choices: [choice] }) => ({
      reason: choice.finish_reason,
      calls: choice.message.tool_calls.map((call) => JSON.parse(call.function.arguments)),
    }));
  },
  async structured() {
    const response_format = {
      type: "json_schema",
      json_schema: { name: "order", strict: true, schema: parameters },
    };
    const reply = await client.chat.completions.parse({ ...ask, response_format });
    return reply.choices[0].message.parsed;
  },
  async embeddings() {
    // Without an encoding the SDK asks for base64 and decodes it.
    const reply = await client.embeddings.create({ model: "fake-embedding", input: ["one", "two"] });
    return { lengths: reply.data.map((item) => item.embedding.length), first: reply.data[0].embedding[0] };
  },
  async respond() {
    const { data, response } = await client.responses.create(respond).withResponse();
    const kept = await client.responses.retrieve(data.id);
    const next = await client.responses.create({ ...respond, previous_response_id: data.id });
    await client.responses.delete(data.id);
    return {
      texts: [data, kept, next].map((found) => found.output_text),
      status: data.status,
      usage: data.usage,
      call: response.headers.get("signalbox-llm-call-id"),
    };
  },
  async respondStream() {
    const stream = client.responses.stream(respond);
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    return { kinds, text: (await stream.finalResponse()).output_text };
  },
  async respondTools() {
    const functions = [{ type: "function", name: "get_order", parameters, strict: true }];
    const whole = await client.responses.create({ ...respond, tools: functions });
    const streamed = await client.responses.stream({ ...respond, tools: functions }).finalResponse();
    return [whole, streamed].map(({ output: [call] }) => [call.name, JSON.parse(call.arguments)]);
  },
  async respondStructured() {
    const format = { type: "json_schema", name: "order", strict: true, schema: parameters };
    return (await client.responses.parse({ ...respond, text: { format } })).output_parsed;
  },
  async respondInBackground() {
    const created = await client.responses.create({ ...respond, background: true });
    let last = null;
    for await (const event of await client.responses.retrieve(created.id, { stream: true })) last = event;
    const cancelled = await client.responses.cancel(created.id);
    return { first: created.status, last: last.type, text: last.response.output[0].content[0].text, then: cancelled.status };
  },
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return ids;
  },
};

try {
  console.log(JSON.stringify({ result: await scenarios[scenario]() }));
} catch (error) {
  const { status, code, type } = error;
  console.log(JSON.stringify({ error: error.constructor.name, status, code, type }));
}
