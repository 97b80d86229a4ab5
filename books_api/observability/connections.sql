-- Processes of ours, their connections, those of all, and how many Postgres allows. A process is known
-- by its name for Postgres, which has its id, and its address.
SELECT count(DISTINCT (application_name, client_addr)) FILTER (WHERE ours),
       count(*) FILTER (WHERE ours), count(*),
       current_setting('max_connections')::integer
       - current_setting('superuser_reserved_connections')::integer
FROM (SELECT *, coalesce(application_name LIKE :named, false) AS ours
      FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL
            AND pid <> pg_backend_pid()) AS clients
