//! Approval of calls by a human: forms, tickets, the console, the webhook and the Redis user.

mod calls;
mod console;
mod console_tokens;
mod forms;
mod page;
mod redis_user;
mod risk_table;
mod sensitive;
mod several;
mod tickets;
mod watch;
mod webhook;
