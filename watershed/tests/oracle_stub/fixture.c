#include "fixture.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  uint16_t type;
  uint8_t form;
} TYPES[] = {
    {"VARCHAR2", 1, 1},       {"NVARCHAR2", 1, 2},    {"CHAR", 96, 1},
    {"NCHAR", 96, 2},         {"NUMBER", 2, 0},       {"DATE", 12, 0},
    {"TIMESTAMP", 187, 0},    {"TIMESTAMP_TZ", 188, 0}, {"TIMESTAMP_LTZ", 232, 0},
    {"RAW", 23, 0},           {"BINARY_DOUBLE", 101, 0}, {"CLOB", 112, 1},
    {"BLOB", 113, 0},
};

static Fixture loaded;
static pthread_once_t loading = PTHREAD_ONCE_INIT;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static void give_up(const char *why, const char *what) {
  fprintf(stderr, "oracle stub: %s: %s\n", why, what);
  abort();
}

static void *room(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) give_up("no memory", "for the fixture");
  return memory;
}

static char *kept(const char *text) { return strcpy(room(strlen(text) + 1), text); }

static void version(const char *text, int numbers[5]) {
  if (sscanf(text, "%d.%d.%d.%d.%d", numbers, numbers + 1, numbers + 2, numbers + 3,
             numbers + 4) != 5)
    give_up("a version has five numbers", text);
}

static Failure failure(char **fields, int count) {
  if (count < 3) give_up("a failure has a code and a text", fields[0]);
  return (Failure){atoi(fields[1]), kept(fields[2]), count > 3 ? atoi(fields[3]) : -1};
}

static Field field(const char *text) {
  Field field = {0};
  if (strcmp(text, "\\N") == 0) return field;
  field.value = room(strlen(text) + 1);
  while (*text) {
    unsigned byte = (unsigned char)*text++;
    if (byte == '\\') {
      char escape = *text++;
      byte = (unsigned char)(escape == 't' ? '\t' : escape == 'n' ? '\n' : escape);
      if (escape == 'x') {
        if (sscanf(text, "%2x", &byte) != 1) give_up("not two digits behind \\x", text);
        text += 2;
      }
    }
    field.value[field.length++] = (char)byte;
  }
  /* Oracle knows no empty text. */
  if (field.length == 0) field.value = NULL;
  return field;
}

static Column column(char **fields, int count) {
  if (count < 3) give_up("a column has a name and a type", fields[0]);
  for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
    if (strcmp(TYPES[i].name, fields[2]) == 0)
      return (Column){kept(fields[1]), TYPES[i].type, TYPES[i].form,
                      count > 3 ? atoi(fields[3]) : 0, count > 4 ? atoi(fields[4]) : 0};
  give_up("no such type", fields[2]);
  abort();
}

static void add_row(Table *table, Row row) {
  Row *place = room(sizeof row);
  *place = row;
  if (table->last) table->last->next = place;
  else table->first = place;
  table->last = place;
}

static void directive(char **fields, int count) {
  const char *word = fields[0];
  Table *table = loaded.tables;
  if (strcmp(word, "client") == 0 && count == 2) version(fields[1], loaded.client);
  else if (strcmp(word, "server") == 0 && count == 2) version(fields[1], loaded.server);
  else if (strcmp(word, "login") == 0 && count == 3) {
    loaded.user = kept(fields[1]);
    loaded.password = kept(fields[2]);
  } else if (strcmp(word, "fail-attach") == 0) loaded.attach = failure(fields, count);
  else if (strcmp(word, "fail-login") == 0) loaded.login = failure(fields, count);
  else if (strcmp(word, "changes") == 0 && count == 2) loaded.changes = strtoull(fields[1], NULL, 10);
  else if (strcmp(word, "table") == 0 && count == 2) {
    table = room(sizeof *table);
    table->name = kept(fields[1]);
    table->next = loaded.tables;
    loaded.tables = table;
  } else if (!table) give_up("no table yet for", word);
  else if (strcmp(word, "column") == 0 && table->column_count < MOST_COLUMNS)
    table->columns[table->column_count++] = column(fields, count);
  else if (strcmp(word, "row") == 0 && count == table->column_count + 1) {
    Row row = {.kind = VALUES};
    for (int i = 1; i < count; i++) row.fields[i - 1] = field(fields[i]);
    add_row(table, row);
  } else if (strcmp(word, "fail") == 0)
    add_row(table, (Row){.kind = FAILS, .failure = failure(fields, count)});
  else if (strcmp(word, "wait") == 0) add_row(table, (Row){.kind = WAITS});
  else if (strcmp(word, "refuse") == 0) table->refusal = failure(fields, count);
  else give_up("not understood", word);
}

static void load(void) {
  version("19.3.0.0.0", loaded.client);
  version("12.1.0.2.0", loaded.server);
  const char *path = getenv("ORACLE_STUB_FIXTURE");
  if (!path) give_up("not set", "ORACLE_STUB_FIXTURE");
  FILE *file = fopen(path, "r");
  if (!file) give_up("cannot open", path);
  char *line = NULL;
  size_t size = 0;
  for (ssize_t length; (length = getline(&line, &size, file)) >= 0;) {
    if (length && line[length - 1] == '\n') line[length - 1] = '\0';
    if (!*line) continue;
    char *fields[MOST_COLUMNS + 1];
    int count = 0;
    for (char *rest = line; rest && count <= MOST_COLUMNS;) fields[count++] = strsep(&rest, "\t");
    directive(fields, count);
  }
  free(line);
  fclose(file);
}

Fixture *fixture(void) {
  pthread_once(&loading, load);
  return &loaded;
}

int happens(Failure *failure) {
  pthread_mutex_lock(&guard);
  int happens = failure->code && failure->times;
  if (happens && failure->times > 0) failure->times--;
  pthread_mutex_unlock(&guard);
  return happens;
}

void note(const char *format, ...) {
  const char *path = getenv("ORACLE_STUB_LOG");
  if (!path) return;
  pthread_mutex_lock(&guard);
  FILE *file = fopen(path, "a");
  if (!file) give_up("cannot open", path);
  va_list values;
  va_start(values, format);
  vfprintf(file, format, values);
  va_end(values);
  fputc('\n', file);
  fclose(file);
  pthread_mutex_unlock(&guard);
}

static int pair(const char *digits, int i) {
  return (digits[2 * i] - '0') * 10 + digits[2 * i + 1] - '0';
}

void oracle_number(const char *text, uint8_t number[NUMBER_SIZE]) {
  int negative = *text == '-';
  text += negative;
  const char *point = strchr(text, '.');
  int whole = (int)(point ? (size_t)(point - text) : strlen(text));
  /* The digits, with a zero before them where the point would fall into a pair. */
  char digits[128] = {0};
  int count = whole % 2;
  memset(digits, '0', sizeof digits - 1);
  for (const char *digit = text; *digit && count < 120; digit++)
    if (*digit != '.') digits[count++] = *digit;
  int exponent = (whole + 1) / 2 - 1, first = 0, pairs = (count + 1) / 2;
  while (first < pairs && pair(digits, first) == 0) first++, exponent--;
  while (pairs > first && pair(digits, pairs - 1) == 0) pairs--;
  uint8_t *place = number + 1;
  if (first == pairs) *place++ = 128;
  else {
    *place++ = (uint8_t)(negative ? 62 - exponent : exponent + 193);
    for (int i = first; i < pairs && i < first + 20; i++)
      *place++ = (uint8_t)(negative ? 101 - pair(digits, i) : pair(digits, i) + 1);
    if (negative && pairs - first < 20) *place++ = 102;
  }
  number[0] = (uint8_t)(place - number - 1);
}

void number_text(const uint8_t number[NUMBER_SIZE], char *text) {
  int negative = !(number[1] & 0x80), digits = number[0] - 1;
  int exponent = negative ? 62 - number[1] : number[1] - 193;
  if (negative && number[digits + 1] == 102) digits--;
  long long whole = 0;
  for (int i = 0; i <= exponent; i++) {
    int digit = i >= digits ? 0 : negative ? 101 - number[i + 2] : number[i + 2] - 1;
    whole = whole * 100 + digit;
  }
  sprintf(text, "%lld", negative ? -whole : whole);
}
