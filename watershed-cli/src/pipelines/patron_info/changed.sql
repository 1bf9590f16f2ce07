-- Patrons created or updated behind the cursor ($1, $2) and before the bound ($3), at most $4,
-- each with its addresses in the order in which the first one counts. {column} is the cursor's
-- column. The limit counts patrons, because it stands before the joins.
SELECT patron.id, patron.creation_date_gmt, patron.record_last_updated_gmt, patron.deletion_date_gmt,
       detail.ptype_code, detail.pcode3, detail.home_library_code, detail.activity_gmt,
       address.addr1, address.city, address.region, address.postal_code
FROM (SELECT id, creation_date_gmt, record_last_updated_gmt, deletion_date_gmt
      FROM sierra_view.record_metadata
      WHERE record_type_code = 'p'
        AND ({column}, id) > ($1, $2)
        AND {column} < $3
      ORDER BY {column}, id
      LIMIT $4) AS patron
LEFT JOIN sierra_view.patron_record_address AS address ON address.patron_record_id = patron.id
LEFT JOIN sierra_view.patron_view AS detail ON detail.id = patron.id
ORDER BY patron.{column}, patron.id,
         address.display_order NULLS LAST, address.patron_record_address_type_id NULLS LAST,
         address.addr1, address.city, address.region, address.postal_code,
         detail.ptype_code, detail.pcode3, detail.home_library_code, detail.activity_gmt
