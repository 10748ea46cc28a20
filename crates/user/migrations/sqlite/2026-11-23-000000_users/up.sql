create table users (
    id integer primary key autoincrement not null,
    name text not null,
    gender smallint not null check (gender between 0 and 2),
    mobile text not null constraint users_mobile_key unique,
    password text not null,
    role text not null check (role in ('user', 'admin')),
    created_at text not null default current_timestamp
);

-- At most one row: the user who was first, where the first is to be the admin.
create table first_user (
    only_one integer primary key not null check (only_one = 1),
    user_id bigint not null references users (id)
);
