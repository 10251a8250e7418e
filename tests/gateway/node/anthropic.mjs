// One scenario with the Anthropic SDK: node anthropic.mjs GATEWAY_URL KEY SCENARIO. Prints what came of it as JSON.
import Anthropic from "@anthropic-ai/sdk";
import { jsonSchemaOutputFormat } from "@anthropic-ai/sdk/helpers/json-schema";

const [url, apiKey, scenario] = process.argv.slice(2);
const client = new Anthropic({ baseURL: `${url}/llm`, apiKey, maxRetries: 0 });
const ask = { model: "alias", max_tokens: 100, messages: [{ role: "user", content: "hello gateway" }] };
const schema = {
  type: "object",
  properties: { order_number: { type: "integer" } },
  required: ["order_number"],
  additionalProperties: false,
};
const tools = [{ name: "get_order", input_schema: schema }];

function shown(message) {
  const { id, model, stop_reason, usage } = message;
  const content = message.content.map((block) => block.text ?? block.input);
  return { id, model, stop_reason, content, usage: [usage.input_tokens, usage.output_tokens] };
}

const scenarios = {
  async chat() {
    const { data, response } = await client.messages.create(ask).withResponse();
    return { ...shown(data), request: data._request_id, call: response.headers.get("signalbox-llm-call-id") };
  },
  async stream() {
    const stream = client.messages.stream(ask);
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    return { ...shown(await stream.finalMessage()), kinds };
  },
  async tools() {
    const whole = await client.messages.create({ ...ask, tools });
    const streamed = await client.messages.stream({ ...ask, tools }).finalMessage();
    return [whole, streamed].map(shown);
  },
  async structured() {
    const output_config = { format: jsonSchemaOutputFormat(schema) };
    return (await client.messages.parse({ ...ask, output_config })).parsed_output;
  },
  async count() {
    const { max_tokens, ...counted } = ask;
    return (await client.messages.countTokens(counted)).input_tokens;
  },
};

try {
  console.log(JSON.stringify({ result: await scenarios[scenario]() }));
} catch (error) {
  const { status, errorCode: code, type } = error;
  console.log(JSON.stringify({ error: error.constructor.name, status, code, type }));
}
