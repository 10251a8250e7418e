// One scenario with the OpenAI SDK: node openai.mjs GATEWAY_URL KEY SCENARIO. Prints what came of it as JSON.
import OpenAI from "openai";

const [url, apiKey, scenario] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/llm/v1`, apiKey, maxRetries: 0 });
const ask = { model: "alias", messages: [{ role: "user", content: "hello gateway" }] };
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
