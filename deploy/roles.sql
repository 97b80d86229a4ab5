-- Run by psql as a superuser, after \set owner_password ... and \set password ...: docs/deployment.md, 2.
-- books_owner owns the database and migrates it; books, the application's, only reads and writes rows.
CREATE ROLE books_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE books LOGIN PASSWORD :'password';
-- With an LC_CTYPE of C search would be blind to letters beyond ASCII.
CREATE DATABASE books OWNER books_owner TEMPLATE template0
    ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8';
REVOKE ALL ON DATABASE books FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE books TO books; -- an import has a temporary table
\connect books
ALTER SCHEMA public OWNER TO books_owner; -- before Postgres 15 everybody may create tables in it
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO books;
ALTER DEFAULT PRIVILEGES FOR ROLE books_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO books;
ALTER DEFAULT PRIVILEGES FOR ROLE books_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO books;
