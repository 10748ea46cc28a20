create table products (
    id bigint generated always as identity primary key,
    name text not null,
    -- The name in lower case, as the service writes it: databases differ in what they know of letters.
    name_lower text not null,
    description text not null,
    stock bigint not null check (stock >= 0),
    amount bigint not null check (amount >= 0),
    status smallint not null check (status between 0 and 1)
);

-- What orders hold of the stock, or, once released, that the order gets nothing any more. An order that was given up before
-- it held anything has no product.
create table reservations (
    order_id bigint primary key,
    product_id bigint,
    quantity bigint not null check (quantity >= 0),
    released boolean not null
);
