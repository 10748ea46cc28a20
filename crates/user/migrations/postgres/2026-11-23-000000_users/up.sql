create table users (
    id bigint generated always as identity primary key,
    name text not null,
    gender smallint not null check (gender between 0 and 2),
    mobile text not null constraint users_mobile_key unique,
    password text not null,
    role text not null check (role in ('user', 'admin')),
    created_at timestamptz not null default now()
);

-- At most one row: the user who was first, where the first is to be the admin.
create table first_user (
    only_one integer primary key check (only_one = 1),
    user_id bigint not null references users (id)
);
