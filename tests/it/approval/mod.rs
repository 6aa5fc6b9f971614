//! Approval of calls by a human: forms, tickets, the ticket page and the Redis user.

mod calls;
mod forms;
mod page;
mod redis_user;
mod sensitive;
mod tickets;
