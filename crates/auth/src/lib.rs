//! Who is calling, and whether they may: keys, tokens, passwords, access rules.
