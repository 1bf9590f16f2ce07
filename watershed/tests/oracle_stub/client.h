/* What the parts of the stand-in client share. */
#ifndef CLIENT_H
#define CLIENT_H

#include "fixture.h"

#include <pthread.h>

/* Answers of a call, as Oracle's client gives them. */
enum { SUCCESS = 0, WITH_INFO = 1, NO_DATA = 100, FAILURE = -1 };

/* Kinds of handles and descriptors. */
enum {
  ENVIRONMENT = 1, ERROR = 2, SERVICE = 3, STATEMENT = 4, BIND = 5, DEFINE = 6, DESCRIBE = 7,
  SERVER = 8, SESSION = 9, PARAMETER = 53
};

/* The types of buffers that are bound and defined here. */
enum {
  TEXT = 1, INTEGER = 3, NUMBER = 6, FIXED_TEXT = 96, NATIVE_DATE = 156, TIMESTAMP = 187,
  TIMESTAMP_TZ = 188, TIMESTAMP_LTZ = 232
};

typedef struct {
  int16_t year;
  uint8_t month, day, hour, minute, second;
} Date;

typedef struct {
  Date date;
  uint32_t nanosecond;
  int8_t zone_hour, zone_minute;
} Timestamp;

/* Where the values of one column, or the value of one placeholder, lie. */
typedef struct {
  void *values;
  int64_t size;
  uint16_t type;
  int16_t *indicators;
  uint32_t *lengths;
  uint16_t *codes;
  char name[64];
} Buffer;

typedef struct {
  int alive, broken;
  pthread_mutex_t guard;
  pthread_cond_t change;
} Server;

typedef struct {
  char user[128], password[128];
} Session;

typedef struct {
  Server *server;
  Session *session;
  uint32_t cached;
} Service;

typedef struct {
  int code;
  char text[512];
} Problem;

typedef struct {
  Service *service;
  char *sql;
  uint16_t kind; /* as Oracle numbers them: 1 is a query */
  Table *table;
  int columns[MOST_COLUMNS], column_count;
  Buffer defines[MOST_COLUMNS];
  Buffer *binds;
  int bind_count;
  /* Rows whose field is one of the bound values; negative: all rows. */
  int filter;
  Row *at;
  uint32_t fetched;
} Statement;

typedef struct Handle {
  uint32_t kind;
  union {
    struct {
      uint16_t charset, national;
    } environment;
    Problem problem;
    Service service;
    Statement statement;
    Server server;
    Session session;
    struct {
      Column *column;
    } parameter;
  } is;
} Handle;

/* Puts an error into its handle, and gives FAILURE. */
int fail(Handle *error, int code, const char *text);

/* Understands the text of a query and finds its table and columns. */
int resolve(Statement *statement, Handle *error);

/* Its placeholders in the order of the text: their names in capitals; gives their number. */
int placeholders(const char *sql, char names[][64], int most);

/* A bound value as text; absent: NULL. */
const char *bound_text(const Buffer *bind, char *room, size_t size);

/* Whether a row is one of those that the query asks for. */
int wanted(const Statement *statement, const Row *row);

/* Writes a field to its place in the buffers. */
void deliver(const Buffer *buffer, uint32_t place, const Column *column, const Field *field);

#endif
