-- Patrons deleted behind the cursor ($1, $2) and before the bound ($3), at most $4.
SELECT id, deletion_date_gmt
FROM sierra_view.record_metadata
WHERE record_type_code = 'p'
  AND (deletion_date_gmt, id) > ($1, $2)
  AND deletion_date_gmt < $3
ORDER BY deletion_date_gmt, id
LIMIT $4
