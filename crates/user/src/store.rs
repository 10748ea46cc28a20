//! The users in the database: one method, one transaction.

use auth::Role;
use db::{Migrations, Pool, in_transaction, with_conn};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::error::Error;
use crate::model::{Gender, Mobile, Name, ProfileChange, User};
use crate::schema::{first_user, users};

/// user.rpc's schema for both databases.
pub const MIGRATIONS: Migrations = Migrations {
    postgres: diesel_migrations::embed_migrations!("migrations/postgres"),
    sqlite: diesel_migrations::embed_migrations!("migrations/sqlite"),
};

/// Accounts and the hashes of their passwords.
#[derive(Clone)]
pub(crate) struct Store {
    pool: Pool,
    first_user_is_admin: bool,
}

/// An account that is to be made.
#[derive(Clone, Insertable)]
#[diesel(table_name = users)]
pub(crate) struct NewUser {
    #[diesel(serialize_as = String)]
    pub(crate) name: Name,
    #[diesel(serialize_as = i16)]
    pub(crate) gender: Gender,
    #[diesel(serialize_as = String)]
    pub(crate) mobile: Mobile,
    /// The password's hash.
    pub(crate) password: String,
    /// `user` or `admin`, as [`Role::as_str`] writes it.
    pub(crate) role: &'static str,
}

/// What a login is checked against.
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) role: Role,
    /// The password's hash.
    pub(crate) password: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct Row {
    id: i64,
    name: String,
    gender: i16,
    mobile: String,
}

impl TryFrom<Row> for User {
    type Error = Error;

    fn try_from(Row { id, name, gender, mobile }: Row) -> Result<Self, Error> {
        Ok(Self {
            id,
            name: Name::parse(name).map_err(db::Error::stored("user's name"))?,
            gender: Gender::parse(gender.into()).map_err(db::Error::stored("user's gender"))?,
            mobile: Mobile::parse(mobile).map_err(db::Error::stored("user's mobile"))?,
        })
    }
}

fn parse_role(role: &str) -> Result<Role, Error> {
    [Role::User, Role::Admin]
        .into_iter()
        .find(|known| known.as_str() == role)
        .ok_or_else(|| db::Error::stored("user's role")("must be user or admin").into())
}

impl Store {
    /// A store over a database that has been migrated.
    pub(crate) fn new(pool: Pool, first_user_is_admin: bool) -> Self {
        Self { pool, first_user_is_admin }
    }

    /// Makes an account, for the very first user an admin's where that is wanted.
    pub(crate) async fn create(&self, new: NewUser) -> Result<User, Error> {
        let made: Result<Row, Error> = in_transaction!(self.pool, conn => {
            let row: Row =
                diesel::insert_into(users::table).values(new).returning(Row::as_returning()).get_result(conn).await?;
            if self.first_user_is_admin {
                let others = users::table.filter(users::id.ne(row.id));
                // Two at the same moment do not see each other; the key of the one row makes one wait for the other.
                let first = (first_user::only_one.eq(1), first_user::user_id.eq(row.id));
                if !diesel::select(exists(others)).get_result::<bool>(conn).await?
                    && diesel::insert_into(first_user::table).values(first).on_conflict_do_nothing().execute(conn).await? == 1
                {
                    let role = users::role.eq(Role::Admin.as_str());
                    diesel::update(users::table.find(row.id)).set(role).execute(conn).await?;
                }
            }
            Ok(row)
        });
        match made {
            Ok(row) => row.try_into(),
            Err(Error::Db(error)) if error.is_unique_violation() => Err(Error::MobileTaken),
            Err(error) => Err(error),
        }
    }

    /// The user with this id.
    pub(crate) async fn find(&self, id: i64) -> Result<User, Error> {
        let row: Option<Row> = with_conn!(self.pool, conn => {
            users::table.find(id).select(Row::as_select()).get_result(&mut conn).await.optional()?
        });
        row.ok_or(Error::Gone)?.try_into()
    }

    /// What a login with this mobile number is checked against, if anyone has it.
    pub(crate) async fn account(&self, mobile: &Mobile) -> Result<Option<Account>, Error> {
        let row: Option<(i64, String, String)> = with_conn!(self.pool, conn => {
            let columns = (users::id, users::role, users::password);
            users::table.filter(users::mobile.eq(mobile.as_str())).select(columns).get_result(&mut conn).await.optional()?
        });
        row.map(|(id, role, password)| Ok(Account { id, role: parse_role(&role)?, password })).transpose()
    }

    /// The mobile number and the password's hash of the user with this id.
    pub(crate) async fn password(&self, id: i64) -> Result<(String, String), Error> {
        let row: Option<(String, String)> = with_conn!(self.pool, conn => {
            users::table.find(id).select((users::mobile, users::password)).get_result(&mut conn).await.optional()?
        });
        row.ok_or(Error::Gone)
    }

    /// Replaces a password's hash, if it is still `old`; tells whether it was.
    pub(crate) async fn replace_password(&self, id: i64, old: &str, new: &str) -> Result<bool, Error> {
        let replaced: usize = with_conn!(self.pool, conn => {
            let unchanged = users::table.find(id).filter(users::password.eq(old));
            diesel::update(unchanged).set(users::password.eq(new)).execute(&mut conn).await?
        });
        Ok(replaced == 1)
    }

    /// Changes what is given and answers the user as they are then.
    pub(crate) async fn update(&self, id: i64, change: ProfileChange) -> Result<User, Error> {
        let ProfileChange { name, gender } = change;
        if name.is_none() && gender.is_none() {
            return self.find(id).await;
        }
        let changes = (name.map(|name| users::name.eq(String::from(name))), gender.map(|g| users::gender.eq(g as i16)));
        let row: Option<Row> = with_conn!(self.pool, conn => {
            let change = diesel::update(users::table.find(id)).set(changes);
            change.returning(Row::as_returning()).get_result(&mut conn).await.optional()?
        });
        row.ok_or(Error::Gone)?.try_into()
    }
}
