drop table first_user;
drop table users;
