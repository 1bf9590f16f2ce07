/* The little SQL that the stand-in understands: SELECT columns or count(*) FROM table, WHERE 1 = 0,
 * and WHERE column = or IN placeholders. All else is a syntax error, as it would be told by a server. */
#include "client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct {
  const char *at;
  char word[128];
} Reader;

/* The next word, name in or out of quotes, or sign; empty at the end. */
static const char *next(Reader *reader) {
  size_t length = 0;
  while (isspace((unsigned char)*reader->at)) reader->at++;
  if (*reader->at == '"') {
    for (reader->at++; *reader->at && *reader->at != '"' && length < 127;)
      reader->word[length++] = *reader->at++;
    if (*reader->at) reader->at++;
  } else if (isalnum((unsigned char)*reader->at) || *reader->at == ':') {
    do reader->word[length++] = (char)toupper((unsigned char)*reader->at++);
    while (length < 127 && (isalnum((unsigned char)*reader->at) || strchr("_$#", *reader->at)) &&
           *reader->at);
  } else if (*reader->at) reader->word[length++] = *reader->at++;
  reader->word[length] = '\0';
  return reader->word;
}

static int is(Reader *reader, const char *word) {
  Reader before = *reader;
  if (strcmp(next(reader), word) == 0) return 1;
  *reader = before;
  return 0;
}

static int column_of(const Table *table, const char *name) {
  for (int i = 0; i < table->column_count; i++)
    if (strcmp(table->columns[i].name, name) == 0) return i;
  return -1;
}

static Table *table_of(Reader *reader) {
  char name[128];
  strcpy(name, next(reader));
  /* The schema before it, if any, is everybody's. */
  if (is(reader, ".")) strcpy(name, next(reader));
  for (Table *table = fixture()->tables; table; table = table->next)
    if (strcmp(table->name, name) == 0) return table;
  return NULL;
}

static int condition(Statement *statement, Reader *reader, Handle *error) {
  if (is(reader, "1")) {
    if (!is(reader, "=") || !is(reader, "0")) return fail(error, 933, "SQL command not properly ended");
    statement->at = NULL;
    return SUCCESS;
  }
  statement->filter = column_of(statement->table, next(reader));
  if (statement->filter < 0) return fail(error, 904, "invalid identifier");
  int list = is(reader, "IN");
  if (list ? !is(reader, "(") : !is(reader, "=")) return fail(error, 920, "invalid relational operator");
  do {
    if (*next(reader) != ':') return fail(error, 936, "missing expression");
  } while (list && is(reader, ","));
  if (list && !is(reader, ")")) return fail(error, 907, "missing right parenthesis");
  return SUCCESS;
}

/* A table of one number in the place of the one that is counted. It lives as long as the process. */
static Table *counted(const Table *table, const char *name) {
  Table *made = calloc(1, sizeof *made);
  Row *row = calloc(1, sizeof *row);
  char *text = malloc(16);
  if (!made || !row || !text) abort();
  int count = 0;
  for (const Row *each = table->first; each; each = each->next) count += each->kind == VALUES;
  sprintf(text, "%d", count);
  made->columns[0] = (Column){.name = strdup(name), .type = 2};
  made->column_count = 1;
  row->fields[0] = (Field){text, strlen(text)};
  made->first = row;
  return made;
}

int resolve(Statement *statement, Handle *error) {
  Reader reader = {.at = statement->sql};
  char names[MOST_COLUMNS][128];
  int count = 0, all, counting;
  next(&reader);
  all = is(&reader, "*");
  counting = is(&reader, "COUNT");
  if (counting) {
    if (!is(&reader, "(") || !is(&reader, "*") || !is(&reader, ")") || !is(&reader, "AS"))
      return fail(error, 909, "invalid number of arguments");
    strcpy(names[0], next(&reader));
    all = 1;
  }
  while (!all) {
    if (count == MOST_COLUMNS) return fail(error, 1792, "too many columns");
    strcpy(names[count++], next(&reader));
    if (!is(&reader, ",")) break;
  }
  if (!is(&reader, "FROM")) return fail(error, 923, "FROM keyword not found where expected");
  Table *table = table_of(&reader);
  if (!table) return fail(error, 942, "table or view does not exist");
  if (happens(&table->refusal)) return fail(error, table->refusal.code, table->refusal.text);
  if (counting) table = counted(table, names[0]);
  statement->table = table;
  statement->column_count = all ? table->column_count : count;
  for (int i = 0; i < statement->column_count; i++) {
    statement->columns[i] = all ? i : column_of(table, names[i]);
    if (statement->columns[i] < 0) {
      char text[160];
      snprintf(text, sizeof text, "\"%s\": invalid identifier", names[i]);
      return fail(error, 904, text);
    }
  }
  statement->at = table->first;
  statement->filter = -1;
  if (is(&reader, "WHERE") && condition(statement, &reader, error) != SUCCESS) return FAILURE;
  return *next(&reader) ? fail(error, 933, "SQL command not properly ended") : SUCCESS;
}

int placeholders(const char *sql, char names[][64], int most) {
  int count = 0, quoted = 0;
  for (; *sql; sql++) {
    if (*sql == '\'') quoted = !quoted;
    if (*sql != ':' || quoted) continue;
    size_t length = 0;
    while (length < 63 && (isalnum((unsigned char)sql[length + 1]) || sql[length + 1] == '_')) {
      if (count < most) names[count][length] = (char)toupper((unsigned char)sql[length + 1]);
      length++;
    }
    if (count < most) names[count][length] = '\0';
    count += length > 0;
  }
  return count;
}

const char *bound_text(const Buffer *bind, char *room, size_t size) {
  if (bind->indicators && *bind->indicators == -1) return NULL;
  const Date *date = bind->values;
  const Timestamp *at;
  switch (bind->type) {
  case TEXT:
    snprintf(room, size, "%.*s", (int)*bind->lengths, (const char *)bind->values);
    break;
  case NUMBER: number_text(bind->values, room); break;
  case TIMESTAMP:
    at = *(Timestamp *const *)bind->values;
    snprintf(room, size, "%04d-%02d-%02d %02d:%02d:%02d.%09u", at->date.year, at->date.month,
             at->date.day, at->date.hour, at->date.minute, at->date.second, at->nanosecond);
    break;
  case NATIVE_DATE:
    snprintf(room, size, "%04d-%02d-%02d %02d:%02d:%02d", date->year, date->month, date->day,
             date->hour, date->minute, date->second);
    break;
  default: snprintf(room, size, "a value of type %d", bind->type);
  }
  return room;
}

int wanted(const Statement *statement, const Row *row) {
  if (statement->filter < 0 || row->kind != VALUES) return 1;
  const Field *field = &row->fields[statement->filter];
  for (int i = 0; i < statement->bind_count; i++) {
    char room[256];
    const char *value = bound_text(&statement->binds[i], room, sizeof room);
    if (value && field->value && strlen(value) == field->length &&
        memcmp(value, field->value, field->length) == 0)
      return 1;
  }
  return 0;
}

static Timestamp time_of(const char *text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, zone_hour = 0, zone_minute = 0;
  char fraction[10] = "";
  sscanf(text, "%d-%d-%d %d:%d:%d.%9[0-9]", &year, &month, &day, &hour, &minute, &second, fraction);
  while (strlen(fraction) < 9) strcat(fraction, "0");
  const char *zone = strpbrk(text + 10, "+-");
  if (zone) {
    sscanf(zone + 1, "%d:%d", &zone_hour, &zone_minute);
    if (*zone == '-') zone_hour = -zone_hour, zone_minute = -zone_minute;
  }
  Date date = {(int16_t)year, (uint8_t)month, (uint8_t)day, (uint8_t)hour, (uint8_t)minute, (uint8_t)second};
  return (Timestamp){date, (uint32_t)strtoul(fraction, NULL, 10), (int8_t)zone_hour, (int8_t)zone_minute};
}

static void deliver_text(const Buffer *buffer, uint32_t place, const Column *column, const Field *field) {
  char *target = (char *)buffer->values + place * buffer->size;
  size_t size = (size_t)buffer->size, length = field->length < size ? field->length : size;
  memcpy(target, field->value, length);
  /* A fixed text is filled up with blanks to its declared length. */
  while (column->type == FIXED_TEXT && length < (size_t)column->size && length < size)
    target[length++] = ' ';
  buffer->lengths[place] = (uint32_t)length;
  if (buffer->codes) buffer->codes[place] = field->length > size ? 1406 : 0;
}

void deliver(const Buffer *buffer, uint32_t place, const Column *column, const Field *field) {
  buffer->indicators[place] = field->value ? 0 : -1;
  if (!field->value) return;
  char *target = (char *)buffer->values + place * buffer->size;
  Timestamp at;
  switch (buffer->type) {
  case INTEGER: {
    int64_t number = strtoll(field->value, NULL, 10);
    memcpy(target, &number, sizeof number);
    break;
  }
  case NUMBER: oracle_number(field->value, (uint8_t *)target); break;
  case NATIVE_DATE:
    at = time_of(field->value);
    memcpy(target, &at.date, sizeof at.date);
    break;
  case TIMESTAMP:
  case TIMESTAMP_TZ:
  case TIMESTAMP_LTZ: **(Timestamp **)target = time_of(field->value); break;
  default: deliver_text(buffer, place, column, field);
  }
}
