-- Times are milliseconds since 1970.
create table payments (
    id integer primary key autoincrement not null,
    uid bigint not null,
    oid bigint not null,
    amount bigint not null check (amount >= 0),
    source integer not null default 0,
    status smallint not null default 0 check (status between 0 and 3),
    created_at bigint not null
);

-- An order has one payment that is under way or settled; those that failed (2) stay beside it.
create unique index payments_of_order on payments (oid) where status <> 2;

-- Settled payments of which order.rpc does not know yet.
create table outbox (
    payment_id bigint primary key not null references payments (id),
    traceparent text,
    due_at bigint not null,
    -- Since when it has been waiting, once the worker took it up.
    since bigint
);

create index outbox_due on outbox (due_at);
