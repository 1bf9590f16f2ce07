/* A stand-in for Oracle's client library: those of its calls that a query takes, as its reference
 * describes them, answered from a fixture in place of a server. */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AL32UTF8 = 873, BROKEN = 1013 };

int fail(Handle *error, int code, const char *text) {
  error->is.problem.code = code;
  snprintf(error->is.problem.text, sizeof error->is.problem.text, "ORA-%05d: %s\n", code, text);
  return FAILURE;
}

static void *new_handle(uint32_t kind) {
  Handle *handle = calloc(1, sizeof *handle);
  if (!handle) abort();
  handle->kind = kind;
  if (kind == SERVER) {
    pthread_mutex_init(&handle->is.server.guard, NULL);
    pthread_cond_init(&handle->is.server.change, NULL);
  }
  return handle;
}

/* --- The library, its threads, handles and descriptors ------------------------------------------ */

void OCIClientVersion(int *major, int *minor, int *update, int *patch, int *port) {
  int *numbers = fixture()->client;
  *major = numbers[0], *minor = numbers[1], *update = numbers[2], *patch = numbers[3], *port = numbers[4];
}

void OCIThreadProcessInit(void) {}

int OCIThreadKeyInit(void *environment, void *error, void **key, void (*destroy)(void *)) {
  (void)environment, (void)error;
  pthread_key_t *made = malloc(sizeof *made);
  *key = made;
  return made && pthread_key_create(made, destroy) == 0 ? SUCCESS : FAILURE;
}

int OCIThreadKeyGet(void *environment, void *error, void *key, void **value) {
  (void)environment, (void)error;
  *value = pthread_getspecific(*(pthread_key_t *)key);
  return SUCCESS;
}

int OCIThreadKeySet(void *environment, void *error, void *key, void *value) {
  (void)environment, (void)error;
  return pthread_setspecific(*(pthread_key_t *)key, value) == 0 ? SUCCESS : FAILURE;
}

int OCIThreadKeyDestroy(void *environment, void *error, void **key) {
  (void)environment, (void)error;
  pthread_key_delete(*(pthread_key_t *)*key);
  free(*key);
  return SUCCESS;
}

int OCIEnvNlsCreate(void **environment, uint32_t mode, void *context, void *allocate, void *again,
                    void *release, size_t extra, void **memory, uint16_t charset, uint16_t national) {
  (void)mode, (void)context, (void)allocate, (void)again, (void)release, (void)extra, (void)memory;
  Handle *handle = new_handle(ENVIRONMENT);
  handle->is.environment.charset = charset;
  handle->is.environment.national = national;
  *environment = handle;
  return SUCCESS;
}

int OCINlsNumericInfoGet(void *environment, void *error, int32_t *value, uint16_t item) {
  (void)environment;
  /* The most bytes of a character, here of UTF-8. */
  if (item != 91) return fail(error, 12712, "no such item");
  *value = 4;
  return SUCCESS;
}

int OCIHandleAlloc(const void *parent, void **handle, uint32_t kind, size_t extra, void **memory) {
  (void)parent, (void)extra, (void)memory;
  *handle = new_handle(kind);
  return SUCCESS;
}

int OCIHandleFree(void *handle, uint32_t kind) {
  (void)kind;
  free(handle);
  return SUCCESS;
}

int OCIDescriptorFree(void *descriptor, uint32_t kind) {
  (void)kind;
  free(descriptor);
  return SUCCESS;
}

int OCIArrayDescriptorAlloc(const void *parent, void **descriptors, uint32_t kind, uint32_t count,
                            size_t extra, void **memory) {
  (void)parent, (void)kind, (void)extra, (void)memory;
  Timestamp *times = calloc(count, sizeof *times);
  if (!times) return FAILURE;
  for (uint32_t i = 0; i < count; i++) descriptors[i] = times + i;
  return SUCCESS;
}

int OCIArrayDescriptorFree(void **descriptors, uint32_t kind) {
  (void)kind;
  free(*descriptors);
  return SUCCESS;
}

int OCIErrorGet(void *handle, uint32_t record, char *state, int32_t *code, char *text, uint32_t size,
                uint32_t kind) {
  (void)state, (void)kind;
  Handle *error = handle;
  if (record > 1 || error->kind != ERROR) return NO_DATA;
  *code = error->is.problem.code;
  snprintf(text, size, "%s", error->is.problem.text);
  return SUCCESS;
}

/* --- Attributes ----------------------------------------------------------------------------------- */

#define GIVE(type, what) return *(type *)value = (type)(what), SUCCESS

static int parameter_get(Handle *handle, void *value, uint32_t *size, uint32_t attribute, Handle *error) {
  Column *column = handle->is.parameter.column;
  switch (attribute) {
  case 1: GIVE(uint16_t, column->form == 2 ? column->size * 2 : column->size);
  case 2: GIVE(uint16_t, column->type);
  case 4:
    *(char **)value = column->name;
    *size = (uint32_t)strlen(column->name);
    return SUCCESS;
  case 5: GIVE(int16_t, column->type == 2 ? column->size : 0);
  case 6: GIVE(int8_t, column->type != 2 ? 6 : column->size ? column->scale : -127);
  case 7: GIVE(uint8_t, 1);
  case 32: GIVE(uint8_t, column->form);
  case 286: GIVE(uint16_t, column->size);
  case 534:
  case 623: GIVE(uint8_t, 0);
  default: return fail(error, 24315, "illegal attribute type");
  }
}

static int statement_get(Statement *statement, void *value, uint32_t attribute, Handle *error) {
  switch (attribute) {
  case 10: GIVE(uint16_t, 42);
  case 18: GIVE(uint32_t, statement->column_count);
  case 24: GIVE(uint16_t, statement->kind);
  case 129: GIVE(uint16_t, 0);
  case 190: GIVE(uint32_t, placeholders(statement->sql, NULL, 0));
  case 197: GIVE(uint32_t, statement->fetched);
  case 218: GIVE(uint8_t, 0);
  case 457: GIVE(uint64_t, fixture()->changes);
  default: return fail(error, 24315, "illegal attribute type");
  }
}

int OCIAttrGet(const void *from, uint32_t kind, void *value, uint32_t *size, uint32_t attribute, void *error) {
  Handle *handle = (Handle *)from;
  if (kind == DESCRIBE) return parameter_get(handle, value, size, attribute, error);
  if (kind == STATEMENT) return statement_get(&handle->is.statement, value, attribute, error);
  switch (kind * 1000 + attribute) {
  case ENVIRONMENT * 1000 + 31: GIVE(uint16_t, handle->is.environment.charset);
  case ENVIRONMENT * 1000 + 262: GIVE(uint16_t, handle->is.environment.national);
  case ERROR * 1000 + 472: GIVE(int, 0);
  case SERVER * 1000 + 31: GIVE(uint16_t, AL32UTF8);
  case SERVER * 1000 + 143: GIVE(uint32_t, handle->is.server.alive);
  case SERVICE * 1000 + 176: GIVE(uint32_t, handle->is.service.cached);
  case SESSION * 1000 + 484: GIVE(int, 0);
  default: return fail(error, 24315, "illegal attribute type");
  }
}

int OCIAttrSet(void *to, uint32_t kind, void *value, uint32_t size, uint32_t attribute, void *error) {
  Handle *handle = to;
  switch (kind * 1000 + attribute) {
  case SERVICE * 1000 + 6: handle->is.service.server = &((Handle *)value)->is.server; break;
  case SERVICE * 1000 + 7: handle->is.service.session = &((Handle *)value)->is.session; break;
  case SERVICE * 1000 + 176: handle->is.service.cached = *(uint32_t *)value; break;
  case SESSION * 1000 + 22:
    snprintf(handle->is.session.user, sizeof handle->is.session.user, "%.*s", (int)size, (char *)value);
    break;
  case SESSION * 1000 + 23:
    snprintf(handle->is.session.password, sizeof handle->is.session.password, "%.*s", (int)size, (char *)value);
    break;
  /* No global transaction; the driver's name, rows to fetch ahead, sizes and character sets of
   * buffers. */
  case SERVICE * 1000 + 8:
  case SESSION * 1000 + 424:
  case STATEMENT * 1000 + 11:
  case BIND * 1000 + 32:
  case BIND * 1000 + 33:
  case DEFINE * 1000 + 32: break;
  default: return fail(error, 24315, "illegal attribute type");
  }
  return SUCCESS;
}

/* --- Connections ----------------------------------------------------------------------------------- */

int OCIServerAttach(void *handle, void *error, const char *address, int32_t length, uint32_t mode) {
  (void)mode;
  note("attach %.*s", length, address);
  Failure *failure = &fixture()->attach;
  if (happens(failure)) return fail(error, failure->code, failure->text);
  ((Handle *)handle)->is.server.alive = 1;
  return SUCCESS;
}

int OCIServerDetach(void *handle, void *error, uint32_t mode) {
  (void)error, (void)mode;
  note("detach");
  ((Handle *)handle)->is.server.alive = 0;
  return SUCCESS;
}

int OCISessionBegin(void *service, void *error, void *handle, uint32_t credentials, uint32_t mode) {
  (void)service, (void)credentials, (void)mode;
  Session *session = &((Handle *)handle)->is.session;
  Fixture *server = fixture();
  note("login %s", session->user);
  if (happens(&server->login)) return fail(error, server->login.code, server->login.text);
  if (server->user &&
      (strcmp(server->user, session->user) != 0 || strcmp(server->password, session->password) != 0))
    return fail(error, 1017, "invalid username/password; logon denied");
  return SUCCESS;
}

int OCISessionEnd(void *service, void *error, void *session, uint32_t mode) {
  (void)service, (void)error, (void)session, (void)mode;
  note("logout");
  return SUCCESS;
}

int OCITransCommit(void *service, void *error, uint32_t flags) {
  (void)service, (void)error, (void)flags;
  note("commit");
  return SUCCESS;
}

int OCITransRollback(void *service, void *error, uint32_t flags) {
  (void)service, (void)error, (void)flags;
  return SUCCESS;
}

int OCIServerRelease2(void *handle, void *error, char *text, uint32_t size, uint8_t kind,
                      uint32_t *version, uint32_t mode) {
  (void)handle, (void)error, (void)kind, (void)mode;
  uint32_t v[5];
  for (int i = 0; i < 5; i++) v[i] = (uint32_t)fixture()->server[i];
  snprintf(text, size, "Oracle Database %uc Enterprise Edition Release %u.%u.%u.%u.%u - 64bit Production",
           v[0], v[0], v[1], v[2], v[3], v[4]);
  *version = v[0] >= 18 ? v[0] << 24 | v[1] << 16 | v[2] << 12 | v[3] << 4 | v[4]
                        : v[0] << 24 | v[1] << 20 | v[2] << 12 | v[3] << 8 | v[4];
  return SUCCESS;
}

int OCIBreak(void *handle, void *error) {
  (void)error;
  Server *server = ((Handle *)handle)->is.service.server;
  note("break");
  pthread_mutex_lock(&server->guard);
  server->broken = 1;
  pthread_cond_broadcast(&server->change);
  pthread_mutex_unlock(&server->guard);
  return SUCCESS;
}

/* --- Statements ------------------------------------------------------------------------------------ */

static uint16_t kind_of(const char *sql) {
  static const char *const WORDS[] = {"SELECT", "UPDATE", "DELETE", "INSERT", "CREATE", "DROP", "ALTER"};
  for (uint16_t i = 0; i < 7; i++)
    if (strncmp(sql, WORDS[i], strlen(WORDS[i])) == 0) return (uint16_t)(i + 1);
  return 0;
}

int OCIStmtPrepare2(void *service, void **handle, void *error, const char *sql, uint32_t length,
                    const char *key, uint32_t key_length, uint32_t language, uint32_t mode) {
  (void)error, (void)key, (void)key_length, (void)language, (void)mode;
  Handle *made = new_handle(STATEMENT);
  Statement *statement = &made->is.statement;
  statement->service = &((Handle *)service)->is.service;
  statement->sql = strndup(sql, length);
  statement->kind = kind_of(statement->sql);
  note("prepare %s", statement->sql);
  *handle = made;
  return SUCCESS;
}

int OCIStmtRelease(void *handle, void *error, const char *key, uint32_t key_length, uint32_t mode) {
  (void)error, (void)key, (void)key_length, (void)mode;
  Statement *statement = &((Handle *)handle)->is.statement;
  free(statement->sql);
  free(statement->binds);
  free(handle);
  return SUCCESS;
}

int OCIStmtGetBindInfo(void *handle, void *error, uint32_t size, uint32_t from, int32_t *found,
                       char *names[], uint8_t lengths[], char *indicators[], uint8_t indicator_lengths[],
                       uint8_t duplicates[], void **binds) {
  (void)error, (void)indicators, (void)indicator_lengths, (void)binds;
  /* The names stay where they are until the same thread asks again. */
  static _Thread_local char all[2048][64];
  int count = placeholders(((Handle *)handle)->is.statement.sql, all, 2048);
  for (uint32_t i = 0; i < size && from - 1 + i < (uint32_t)count; i++) {
    int place = (int)(from - 1 + i);
    names[i] = all[place];
    lengths[i] = (uint8_t)strlen(all[place]);
    duplicates[i] = 0;
    for (int before = 0; before < place; before++)
      if (strcmp(all[before], all[place]) == 0) duplicates[i] = 1;
  }
  *found = (int)(from - 1 + size) < count ? -count : count;
  return count ? SUCCESS : NO_DATA;
}

int OCIBindByName2(void *handle, void **bind, void *error, const char *name, int32_t length,
                   void *values, int64_t size, uint16_t type, void *indicators, uint32_t *lengths,
                   uint16_t *codes, uint32_t most, uint32_t *count, uint32_t mode) {
  (void)error, (void)most, (void)count, (void)mode;
  static Handle done = {.kind = BIND};
  Statement *statement = &((Handle *)handle)->is.statement;
  size_t needed = (size_t)(statement->bind_count + 1) * sizeof *statement->binds;
  statement->binds = realloc(statement->binds, needed);
  if (!statement->binds) abort();
  Buffer *place = &statement->binds[statement->bind_count++];
  *place = (Buffer){values, size, type, indicators, lengths, codes, ""};
  snprintf(place->name, sizeof place->name, "%.*s", length, name);
  *bind = &done;
  return SUCCESS;
}

int OCIStmtExecute(void *service, void *handle, void *error, uint32_t times, uint32_t offset,
                   const void *snapshot_in, void *snapshot_out, uint32_t mode) {
  (void)service, (void)times, (void)offset, (void)snapshot_in, (void)snapshot_out, (void)mode;
  Statement *statement = &((Handle *)handle)->is.statement;
  for (int i = 0; i < statement->bind_count; i++) {
    char room[256];
    const char *value = bound_text(&statement->binds[i], room, sizeof room);
    note("bind %s type %d %s", statement->binds[i].name, statement->binds[i].type, value ? value : "NULL");
  }
  return statement->kind == 1 ? resolve(statement, error) : SUCCESS;
}

int OCIParamGet(const void *handle, uint32_t kind, void *error, void **parameter, uint32_t place) {
  const Statement *statement = &((const Handle *)handle)->is.statement;
  if (kind != STATEMENT || place < 1 || (int)place > statement->column_count)
    return fail(error, 24334, "no descriptor for this position");
  Handle *made = new_handle(PARAMETER);
  made->is.parameter.column = &statement->table->columns[statement->columns[place - 1]];
  *parameter = made;
  return SUCCESS;
}

int OCIDefineByPos2(void *handle, void **define, void *error, uint32_t place, void *values, uint64_t size,
                    uint16_t type, void *indicators, uint32_t *lengths, uint16_t *codes, uint32_t mode) {
  (void)mode;
  static Handle done = {.kind = DEFINE};
  Statement *statement = &((Handle *)handle)->is.statement;
  if (place < 1 || (int)place > statement->column_count) return fail(error, 1007, "variable not in select list");
  statement->defines[place - 1] = (Buffer){values, (int64_t)size, type, indicators, lengths, codes, ""};
  *define = &done;
  return SUCCESS;
}

int OCIDefineDynamic(void *define, void *error, void *context, void *callback) {
  (void)define, (void)error, (void)context, (void)callback;
  return SUCCESS;
}

/* Hangs as a call to a server that does not answer, until somebody breaks it. */
static int hang(Server *server, Handle *error) {
  note("waiting");
  pthread_mutex_lock(&server->guard);
  while (!server->broken) pthread_cond_wait(&server->change, &server->guard);
  server->broken = 0;
  pthread_mutex_unlock(&server->guard);
  return fail(error, BROKEN, "user requested cancel of current operation");
}

int OCIStmtFetch2(void *handle, void *error, uint32_t rows, uint16_t orientation, int32_t offset, uint32_t mode) {
  (void)orientation, (void)offset, (void)mode;
  Statement *statement = &((Handle *)handle)->is.statement;
  statement->fetched = 0;
  for (; statement->at && statement->fetched < rows; statement->at = statement->at->next) {
    Row *row = statement->at;
    if (row->kind == WAITS) return hang(statement->service->server, error);
    if (row->kind == FAILS) {
      if (!happens(&row->failure)) continue;
      if (row->failure.code == 3113) statement->service->server->alive = 0;
      note("fetch fails behind %u", statement->fetched);
      return fail(error, row->failure.code, row->failure.text);
    }
    if (!wanted(statement, row)) continue;
    for (int i = 0; i < statement->column_count; i++) {
      int column = statement->columns[i];
      deliver(&statement->defines[i], statement->fetched, &statement->table->columns[column], &row->fields[column]);
    }
    statement->fetched++;
  }
  note("fetch %u of %u", statement->fetched, rows);
  if (statement->fetched == rows) return SUCCESS;
  fail(error, 1403, "no data found");
  return NO_DATA;
}

/* --- Points in time -------------------------------------------------------------------------------- */

int OCIDateTimeConstruct(void *environment, void *error, void *to, int16_t year, uint8_t month, uint8_t day,
                         uint8_t hour, uint8_t minute, uint8_t second, uint32_t nanosecond,
                         const char *zone, size_t length) {
  (void)environment, (void)error, (void)zone, (void)length;
  *(Timestamp *)to = (Timestamp){{year, month, day, hour, minute, second}, nanosecond, 0, 0};
  return SUCCESS;
}

int OCIDateTimeGetDate(void *environment, void *error, const void *from, int16_t *year, uint8_t *month, uint8_t *day) {
  (void)environment, (void)error;
  const Date *date = &((const Timestamp *)from)->date;
  *year = date->year, *month = date->month, *day = date->day;
  return SUCCESS;
}

int OCIDateTimeGetTime(void *environment, void *error, void *from, uint8_t *hour, uint8_t *minute,
                       uint8_t *second, uint32_t *nanosecond) {
  (void)environment, (void)error;
  const Timestamp *at = from;
  *hour = at->date.hour, *minute = at->date.minute, *second = at->date.second, *nanosecond = at->nanosecond;
  return SUCCESS;
}

int OCIDateTimeGetTimeZoneOffset(void *environment, void *error, const void *from, int8_t *hour, int8_t *minute) {
  (void)environment, (void)error;
  const Timestamp *at = from;
  *hour = at->zone_hour, *minute = at->zone_minute;
  return SUCCESS;
}
