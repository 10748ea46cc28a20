-- Times are milliseconds since 1970.
create table orders (
    id bigint generated always as identity primary key,
    uid bigint not null,
    pid bigint not null,
    quantity bigint not null check (quantity > 0),
    unit_price bigint not null check (unit_price >= 0),
    amount bigint not null check (amount >= 0),
    status smallint not null check (status between 0 and 6),
    payment_id bigint,
    hidden boolean not null default false,
    idempotency_key text,
    traceparent text,
    created_at bigint not null,
    -- When the recovery worker is to look at the order; null when nothing is left to do.
    due_at bigint,
    -- Since when it has been waiting, once the worker took it up.
    since bigint
);

create unique index orders_idempotency_key on orders (uid, idempotency_key) where idempotency_key is not null;

create index orders_of_user on orders (uid, id) where not hidden;

create index orders_due on orders (due_at) where due_at is not null;

create index orders_taken on orders (since) where since is not null;
