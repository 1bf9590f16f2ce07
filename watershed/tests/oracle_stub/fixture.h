/* What the server behind the stand-in client holds and how it behaves, read from the file that
 * ORACLE_STUB_FIXTURE names. A line is a directive and its fields, with tabs between them:
 *
 *   client  19.3.0.0.0              version of the client, and
 *   server  12.1.0.2.0              that of the server
 *   login   USER  password          the only ones let in; anybody without this line
 *   fail-attach  CODE  text  TIMES  there is no connection, the first TIMES times
 *   fail-login   CODE  text         there is no session
 *   changes NUMBER                  rows that a statement which is no query is about
 *   table   NAME                    what follows belongs to it:
 *   column  NAME  TYPE  SIZE SCALE    VARCHAR2 NVARCHAR2 CHAR NCHAR RAW: size in characters;
 *                                     NUMBER: precision and scale; DATE TIMESTAMP TIMESTAMP_TZ
 *                                     TIMESTAMP_LTZ BINARY_DOUBLE CLOB BLOB: none
 *   row     value  value …            \N is NULL; \t \n \\ and \xHH stand for their bytes
 *   fail    CODE  text  TIMES         in place of a row: fetching fails there
 *   wait                              in place of a row: fetching hangs until it is interrupted
 *   refuse  CODE  text                a query of this table fails
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stddef.h>
#include <stdint.h>

enum { MOST_COLUMNS = 64, NUMBER_SIZE = 22 };

typedef struct {
  int code;
  char *text;
  int times; /* left; negative: always */
} Failure;

typedef struct {
  char *name;
  uint16_t type; /* as Oracle describes it */
  uint8_t form;  /* 2: the national character set */
  int size, scale;
} Column;

typedef struct {
  char *value; /* absent: NULL */
  size_t length;
} Field;

typedef struct Row {
  enum { VALUES, FAILS, WAITS } kind;
  Field fields[MOST_COLUMNS];
  Failure failure;
  struct Row *next;
} Row;

typedef struct Table {
  char *name;
  Column columns[MOST_COLUMNS];
  int column_count;
  Row *first, *last;
  Failure refusal;
  struct Table *next;
} Table;

typedef struct {
  int client[5], server[5];
  char *user, *password;
  Failure attach, login;
  uint64_t changes;
  Table *tables;
} Fixture;

/* Read at the first call; a fixture that cannot be read ends the process. */
Fixture *fixture(void);

/* Whether the failure is still to happen; counts it. */
int happens(Failure *failure);

/* Appends a line to the file that ORACLE_STUB_LOG names, if there is one. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A decimal text in Oracle's own form: length, exponent, digits to the base of 100. */
void oracle_number(const char *text, uint8_t number[NUMBER_SIZE]);

/* A whole number in that form as text. */
void number_text(const uint8_t number[NUMBER_SIZE], char *text);

#endif
