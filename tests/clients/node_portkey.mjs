// Portkey's official Node.js client through the REST face: typical calls, or deletions that a policy denies.
// rest_clients.py runs it.

import assert from "node:assert/strict";

import { Portkey } from "portkey-ai";

const WORKSPACE = "ws-shared";
const [, , mode, baseURL, apiKey, told] = process.argv;
const client = new Portkey({ baseURL, apiKey, maxRetries: 0 });

// Creates, lists, reads, updates and deletes one thing.
async function live(title, api, { create, id = (made) => made.slug, list = {}, one, update, changed, gone = [404, "AB08"] }) {
  const made = await api.create(create);
  const name = id(made);
  assert.ok(name, JSON.stringify(made));
  const handle = { ...one(name) };
  const listed = (await api.list(list)).data;
  assert.ok(JSON.stringify(listed).includes(name), `${title}: ${name} is not listed`);
  await api.update({ ...handle, ...update });
  const got = await api.retrieve(handle);
  assert.equal(changed(got), "Changed", JSON.stringify(got));
  await api.delete({ ...handle, ...(update.name ? { name: update.name } : {}) });
  await refused(...gone, () => api.retrieve(handle));
  console.log(`ok   node: ${title}: creates, lists, updates, reads and deletes one`);
}

async function refused(status, text, call) {
  const found = await call().then(
    (answer) => assert.fail(`this should have been refused: ${JSON.stringify(answer)}`),
    (error) => error,
  );
  assert.equal(found.status, status, String(found));
  assert.ok(String(found.message).includes(text), String(found));
}

async function exercise() {
  const slug = (slug) => ({ slug });
  await live("integrations", client.integrations, {
    create: { name: "From Node", slug: "node-integration", ai_provider_id: "openai", key: "sk-0123456789abcdef" },
    list: { page_size: 100 },
    one: slug,
    update: { description: "Changed" },
    changed: (got) => got.description,
  });
  await live("providers", client.providers, {
    create: { name: "From Node", slug: "node-provider", integration_id: "openai-production", workspace_id: WORKSPACE },
    list: { workspace_id: WORKSPACE },
    one: (slug) => ({ slug, workspace_id: WORKSPACE }),
    update: { note: "Changed" },
    changed: (got) => got.note,
  });
  await live("virtual keys", client.virtualKeys, {
    create: { name: "From Node", provider: "openai", key: "sk-0123456789abcdef", workspace_id: WORKSPACE },
    id: (made) => made.data.slug,
    list: { workspace_id: WORKSPACE },
    one: slug,
    update: { note: "Changed" },
    changed: (got) => got.note,
  });
  const configs = await client.configs.list({ workspace_id: WORKSPACE });
  assert.ok(Array.isArray(configs.data));
  await live("configs", client.configs, {
    create: { name: "From Node", config: { cache: { mode: "simple" } }, workspace_id: WORKSPACE },
    id: (made) => made.data.slug,
    list: { workspace_id: WORKSPACE },
    one: slug,
    update: { name: "Changed" },
    changed: (got) => got.name,
  });
  await live("api keys", client.apiKeys, {
    create: { type: "workspace", "sub-type": "service", name: "From Node", workspace_id: WORKSPACE, scopes: ["logs.write"] },
    id: (made) => made.id,
    list: { workspace_id: WORKSPACE },
    one: (id) => ({ id }),
    update: { name: "Changed", scopes: ["completions.write"] },
    changed: (got) => got.name,
  });
  await live("guardrails", client.guardrails, {
    create: {
      name: "From Node",
      workspace_id: WORKSPACE,
      checks: [{ id: "default.wordCount", parameters: { minWords: 1, maxWords: 9 } }],
      actions: { deny: false },
    },
    list: { workspace_id: WORKSPACE },
    one: (guardrail_id) => ({ guardrail_id }),
    update: { name: "Changed" },
    changed: (got) => got.name,
    gone: [403, "AB03"],
  });
  await live("workspaces", client.admin.workspaces, {
    create: { name: "From Node" },
    id: (made) => made.id,
    one: (workspaceId) => ({ workspaceId }),
    update: { name: "Changed" },
    changed: (got) => got.name,
  });
  const users = (await client.admin.users.list({})).data;
  const user = await client.admin.users.retrieve({ userId: users[0].id });
  assert.equal(user.email, users[0].email);
  const invite = await client.admin.users.invites.create({ email: "node@example.com", role: "member" });
  const invites = (await client.admin.users.invites.list({})).data;
  assert.ok(invites.some(({ id }) => id === invite.id));
  await client.admin.users.invites.delete({ inviteId: invite.id });
  console.log("ok   node: users: lists and reads them, invites one");
  const rendered = await client.prompts.render({ promptID: "pp-refund-reply", variables: {} });
  assert.ok(rendered.success, JSON.stringify(rendered));
  console.log("ok   node: prompts: renders one");
  const labels = client.labels;
  const label = await labels.create({ name: "from-node", organisation_id: user.organisation_id });
  await labels.delete(label.id);
  console.log("ok   node: labels: creates and deletes one");
}

async function denied() {
  const calls = [
    () => client.integrations.delete({ slug: "openai-production" }),
    () => client.providers.delete({ slug: "openai-production", workspace_id: WORKSPACE }),
    () => client.virtualKeys.delete({ slug: "openai-production" }),
    () => client.configs.delete({ slug: "pc-support-fallback" }),
    () => client.apiKeys.delete({ id: "some-id" }),
    () => client.guardrails.delete({ guardrail_id: "some-id" }),
    () => client.admin.workspaces.delete({ workspaceId: WORKSPACE, name: "Shared" }),
    () => client.admin.users.delete({ userId: "some-id" }),
    () => client.labels.delete("some-id"),
  ];
  for (const call of calls) {
    await refused(403, told, call);
  }
  console.log(`ok   node: is told why ${calls.length} deletions are denied`);
}

await (mode === "denied" ? denied() : exercise());
