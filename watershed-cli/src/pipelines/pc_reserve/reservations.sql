-- Sessions behind the cursor ($1, $2), at most $3. The first condition is implied by the second, and
-- lets an index on pcrDateTime be used. {bound} is empty, or an upper bound ($4).
SELECT pcrKey, pcrUserID, pcrMinutesUsed, pcrDateTime, pcrBranch, pcrArea, pcrUserData1
FROM strad_bci
WHERE pcrDateTime >= $1
  AND (pcrDateTime > $1 OR pcrKey > $2)
  {bound}
ORDER BY pcrDateTime, pcrKey
LIMIT $3
