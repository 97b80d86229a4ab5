CREATE OR REPLACE FUNCTION books_fold(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ 
        SELECT btrim(regexp_replace(
            replace(translate(
                normalize(
                    regexp_replace(normalize(lower(value), NFKD), '[\u0300-\u036f]+', '', 'g'), NFC
                ),
                'øłđħŧı', 'oldhti'
            ), 'ß', 'ss'),
            '[^[:alnum:]]+', ' ', 'g'
        )) $$;
