/* What is known before a byte: the lane's state after each byte, and the contexts that it gives.
   predictor/contexts.py is its twin. */
#ifndef LLMZIP_CONTEXTS_H
#define LLMZIP_CONTEXTS_H
#include "matching.h"

static inline int is_letter(uint32_t c) { return ((c | 32) >= 'a' && (c | 32) <= 'z') || c >= 128; }
static inline int is_word(uint32_t c) { return is_letter(c) || is_digit(c); }
static inline int is_separator(uint32_t c) { return c == ',' || c == '\t' || c == ';' || c == '|' || c == '\n'; }

static inline uint32_t class_of(uint32_t c) {
    return is_digit(c)                                    ? 1
           : c >= 'a' && c <= 'z'                         ? 2
           : c >= 'A' && c <= 'Z'                         ? 3
           : c >= 128                                     ? 4
           : c == ' '                                     ? 5
           : c == '\n' || c == '\r' || c == '\t'          ? 6
           : c == ',' || c == '.' || c == ';' || c == ':' ? 7
                                                          : 0;
}

/* What tables of histories are told apart by. */
static inline int kind_of(uint32_t c) { return c >= 128 ? 3 : is_letter(c) ? 2 : is_digit(c); }

static inline uint32_t back(const Predictor *p, const Lane *l, int64_t i) {
    return l->at - i >= l->start ? p->data[l->at - i] : 0;
}

static void follow_words(Lane *l, uint32_t c) {
    uint32_t kind = is_letter(c) ? 'a' : is_digit(c) ? '0' : c, last = (uint32_t)l->skeleton & 255;
    if (kind != last || !(kind == 'a' || kind == '0' || kind == ' ')) l->skeleton = l->skeleton << 8 | kind;
    if (is_word(c)) {
        if (!l->word) l->first = c, l->word_length = 0;
        l->word = hash(l->word, c >= 'A' && c <= 'Z' ? c | 32 : c);
        l->letters = hash(l->letters, is_letter(c) ? c | 32 : '0');
        l->word_length++;
    } else {
        if (l->word) l->word2 = l->word1, l->word1 = l->word, l->word = 0;
        l->word_length = 0;
        l->letters = hash(0, c);
        if (c != ' ') l->punctuation = l->punctuation << 8 | c, l->marks = l->marks << 8 | c;
    }
    l->shape = (l->shape << 3 | class_of(c)) & 0x1fffff;
}

static void follow_numbers(Lane *l, uint32_t c, uint32_t before) {
    l->number = is_digit(c) ? hash(l->number, c) : 0;
    if (is_digit(c) && is_digit(before)) return;
    uint32_t masked = is_digit(c) ? '0' : c;
    l->mask = l->mask << 8 | masked;
    l->masked = hash(l->masked, masked);
}

/* How the number so far compares with the one at its place in the line before: 0 the same; 1, 2 one more, one less
   where they part; 3, 4 more, less; 5 there is none. */
static void follow_comparison(Lane *l, uint32_t c) {
    if (!is_digit(c)) {
        l->compared = l->digits = 0;
        return;
    }
    int32_t more = (int32_t)c - (int32_t)l->aligned_byte;
    l->digits++;
    if (l->compared) return;
    if (!is_digit(l->aligned_byte)) l->compared = 5;
    else l->compared = more == 0 ? 0 : more == 1 ? 1 : more == -1 ? 2 : more > 0 ? 3 : 4;
}

/* In UTF-8 a byte of 128 to 191 goes on with a character. */
static void follow_characters(Lane *l, uint32_t c) {
    uint32_t *characters = l->characters;
    if ((c & 0xc0) == 0x80) {
        characters[0] = characters[0] << 8 | c;
        return;
    }
    for (int i = 4; i > 0; i--) characters[i] = characters[i - 1];
    characters[0] = c;
}

static void follow_fields(Lane *l, uint32_t c, uint32_t before) {
    uint32_t *known = &l->field_known[l->field & (STACK - 1)];
    if (is_separator(c)) {
        *known = l->field_classes;
        l->field_classes = l->field_text = 0;
    } else {
        l->field_classes = hash(l->field_classes, class_of(c) ? class_of(c) : c);
        l->field_text = hash(l->field_text, c);
    }
    if (is_separator(c) || (c == ' ' && before == ' ')) l->field++, l->place = 0;
    else l->place++;
}

static void follow_brackets(Lane *l, uint32_t c) {
    if (c == '{' || c == '[' || c == '(') {
        if (l->nesting < STACK - 1) l->brackets[++l->nesting] = hash(l->key, c);
    } else if ((c == '}' || c == ']' || c == ')') && l->nesting > 0) {
        l->nesting--;
    }
    if (c == '"') {
        l->quoting = !l->quoting;
        if (l->quoting) l->quoted = 0;
        else l->quoted1 = l->quoted;
    } else if (l->quoting) {
        l->quoted = hash(l->quoted, c);
    }
    if (c == ':' || c == '=') l->key = l->quoted1 ? l->quoted1 : l->word1;
    if (c == '\n') l->quoting = 0;
}

/* in_tag: 0 outside, 1 in the name, 2 after it, 3 in a tag that closes. */
static void follow_tags(Lane *l, uint32_t c, uint32_t before) {
    if (c == '<' || c == '>') l->closing = 0;
    else if (c == '/' && l->tag == 1 && l->in_tag == 1) l->closing = l->tags[l->tag_depth];
    if (c == '<') {
        l->in_tag = 1, l->tag = 1;
    } else if (l->in_tag == 1) {
        if (c == '/' && l->tag == 1) {
            l->tag_depth -= l->tag_depth > 0;
            l->in_tag = 3;
        } else if (is_word(c)) {
            l->tag = hash(l->tag, c);
        } else {
            if (l->tag != 1 && l->tag_depth < STACK - 1) l->tags[++l->tag_depth] = l->tag;
            l->in_tag = c == '>' ? 0 : 2;
        }
    } else if (l->in_tag && c == '>') {
        if (before == '/') l->tag_depth -= l->tag_depth > 0;
        l->in_tag = 0, l->tag = 0;
    }
}

/* indenting: 1 in the spaces at the start of a line, 2 in its first word, 3 after that. */
static void follow_lines(Lane *l, uint32_t c) {
    if (c == '\n') {
        l->line_second = l->line_before, l->line_before = l->line, l->line = l->aligned = l->at;
        l->aligned = l->line_before;
        l->field = 0, l->masked1 = l->masked, l->masked = 0, l->indenting = 1, l->indent = 0;
        l->head1 = l->head, l->head = 0;
    } else if (l->indenting <= 1) {
        if (c == ' ' || c == '\t') {
            l->indent++;
        } else {
            l->indenting = 2;
            while (l->depth > 0 && l->indents[l->depth] >= l->indent) l->depth--;
            l->parent = l->depth > 0 ? l->outline[l->depth] : 0;
            l->head = hash(0, c);
        }
    } else if (l->indenting == 2) {
        if (is_word(c) || c == '"' || c == '_') {
            l->head = hash(l->head, c);
        } else {
            l->indenting = 3;
            if (l->depth < STACK - 1)
                l->depth++, l->indents[l->depth] = l->indent, l->outline[l->depth] = hash(l->head, l->parent);
        }
    }
}

/* The place in the line before that this one has come to, field by field. */
static void follow_aligned(const Predictor *p, Lane *l, uint32_t c) {
    if (c == '\n' || l->aligned >= l->line) return;
    uint32_t d = p->data[l->aligned];
    if (d == c || (is_word(c) && is_word(d))) {
        l->aligned++;
    } else if (!is_word(c)) {
        int64_t i = l->aligned;
        while (i < l->line && p->data[i] != c && p->data[i] != '\n') i++;
        if (i < l->line && p->data[i] == c) l->aligned = i + 1;
    }
}

static void text_contexts(const Predictor *p, const Lane *l, uint32_t *h) {
    uint32_t c1 = l->c1, c2 = l->c2, word = hash(l->word, c1), two = c1 | c2 << 8, last, column = l->column;
    uint32_t skeleton = (uint32_t)l->skeleton, skeleton2 = (uint32_t)(l->skeleton >> 32), aligned2;
    uint32_t e0 = (uint32_t)(l->matches[0].expected + 1), e1 = (uint32_t)(l->matches[1].expected + 1),
             e2 = (uint32_t)(l->matches[2].expected + 1), e3 = (uint32_t)(l->matches[3].expected + 1);
    int64_t length = l->matches[0].length;
    aligned2 = l->aligned + 1 < l->line ? p->data[l->aligned + 1] : 0;
    last = l->line_second + column < l->line_before ? p->data[l->line_second + column] : 0;
    h[7] = word;
    h[8] = hash(word, l->word1);
    h[9] = hash(l->word, l->word2);
    h[10] = l->above | (column < 255 ? column : 255) << 8;
    h[11] = hash(c1 | l->aligned_byte << 8 | aligned2 << 16, l->word);
    h[12] = hash(l->field_text, (uint32_t)l->field);
    h[13] = hash((uint32_t)l->mask, (uint32_t)(l->mask >> 32) & 0xffff);
    h[14] = hash(l->masked, l->number);
    h[15] = hash(l->masked1, h[14]);
    h[16] = hash(two, p->followers[two] & 0xffff);
    h[17] = hash(hash(l->parent, l->head), word);
    h[18] = hash(hash(l->brackets[l->nesting], l->key), word);
    h[19] = hash(hash(l->tag, l->tags[l->tag_depth]), word);
    h[20] = hash(e0 | e1 << 9, (uint32_t)(length < 15 ? length : 15));
    h[21] = hash(e2, word);
    h[22] = hash(l->punctuation, l->word);
    h[23] = hash(hash(l->letters, l->first), c1);
    h[24] = hash((uint32_t)l->indent * 32 + (l->indenting < 2), hash(l->above, c1));
    h[25] = hash(l->shape, c1);
    h[26] = hash(hash(l->head1, l->head), word);
    h[27] = hash(skeleton, skeleton2 & 0xffff);
    h[28] = hash(hash(l->closing, l->tag), hash((uint32_t)l->in_tag, l->word));
    h[29] = hash(hash((uint32_t)l->marks, (uint32_t)(l->marks >> 32)), c1);
    h[30] = hash(hash(skeleton, skeleton2), hash((uint32_t)l->marks & 0xffff, (uint32_t)l->word_length));
    h[31] = hash(l->field_classes, (uint32_t)l->field);
    h[32] = hash(hash(l->word, l->word1), l->word2);
    h[33] = hash(hash(l->field_classes, l->field_known[l->field & (STACK - 1)]), hash((uint32_t)l->field, c1));
    h[34] = hash(l->above | last << 8 | c1 << 16, 0);
    h[35] = hash(l->compared | l->aligned_byte << 8 | aligned2 << 16, hash(skeleton, l->digits));
    h[36] = hash(e3, skeleton);
    h[37] = hash(e3, l->masked);
}

/* After a byte of a character of several: fields, columns and first words say little there, characters more. */
static void script_contexts(const Lane *l, uint32_t *h) {
    const uint32_t *c = l->characters;
    uint32_t four = hash(hash(hash(c[0], c[1]), c[2]), c[3]);
    h[12] = four;
    h[17] = hash(c[0], l->word1);
    h[24] = hash(c[0], c[2]);
    h[25] = hash(c[0], c[1] >> 6);
    h[31] = c[0];
    h[33] = hash(hash(c[0], c[2]), c[3]);
    h[34] = hash(four, c[4]);
}

/* A hash of 16 bits of the three bytes that end `i` bytes ago. */
static inline uint32_t three_before(const Predictor *p, const Lane *l, int64_t i) {
    return hash(back(p, l, i) | back(p, l, i + 1) << 8 | back(p, l, i + 2) << 16, 0) >> 16;
}

static void record_contexts(const Predictor *p, const Lane *l, uint32_t *h) {
    int64_t s = p->stride;
    uint32_t c1 = l->c1, c2 = l->c2, c3 = l->c3, up = l->above, up2 = back(p, l, 2 * s), left = back(p, l, s + 1);
    uint32_t right = s > 1 ? back(p, l, s - 1) : 0, column = l->column, two = c1 | c2 << 8;
    uint32_t e0 = (uint32_t)(l->matches[0].expected + 1), e3 = (uint32_t)(l->matches[3].expected + 1);
    uint32_t across = c1 + up - left, down = up * 2 - up2, three = three_before(p, l, 1);
    uint32_t c4 = back(p, l, 4), c5 = back(p, l, 5), c8 = back(p, l, 8);
    h[7] = c2 | c3 << 8;
    h[8] = hash(two, c5 | back(p, l, 6) << 8);
    h[9] = hash(h[5], up);
    h[10] = c1 | up << 8 | left << 16;
    h[11] = hash(column, up | up2 << 8);
    h[12] = hash(h[6], up | up2 << 8);
    h[13] = c3 | c4 << 8;
    h[14] = column;
    h[15] = up | up2 << 8 | c1 << 16;
    h[16] = hash(up | right << 8, c2);
    h[17] = hash(hash(across, up - up2), column);
    h[18] = hash(two, p->followers[two] & 0xffff);
    h[19] = hash(e0 | e3 << 9, (uint32_t)(l->matches[0].length < 15 ? l->matches[0].length : 15));
    h[20] = hash(column, two);
    h[21] = hash(up, right | back(p, l, s + 2) << 8 | left << 16);
    h[22] = hash(column, c1);
    h[23] = hash(column, down & 255);
    h[24] = hash(across & 255, down & 255);
    h[25] = hash(column, hash(two, c3));
    h[26] = hash((c1 & 0xf0) | (c2 & 0xf0) << 8 | (c3 & 0xf0) << 16 | c4 << 24, up >> 4);
    h[27] = hash(l->word, c1);
    h[28] = hash(c1, p->followers1[c1] & 0xffffff);
    h[29] = hash(three, p->followers3[three] & 0xffffff);
    h[30] = c1 | c4 << 8 | c5 << 16 | c8 << 24;
    h[31] = c4 | c8 << 8 | back(p, l, 12) << 16;
}

/* The contexts of the byte at lane->at, before their numbers are hashed in. */
static void find_contexts(const Predictor *p, Lane *l) {
    uint32_t *h = l->contexts, c1 = back(p, l, 1), c2 = back(p, l, 2), c3 = back(p, l, 3), c4 = back(p, l, 4);
    l->c1 = c1, l->c2 = c2, l->c3 = c3;
    h[0] = 0;
    h[1] = c1;
    h[2] = c1 | c2 << 8;
    h[3] = h[2] | c3 << 16;
    h[4] = h[3] | c4 << 24;
    h[5] = hash(h[4], back(p, l, 5));
    h[6] = hash(h[5], back(p, l, 6));
    if (p->stride) {
        l->column = (uint32_t)((l->at - l->start) % p->stride);
        l->above = l->aligned_byte = back(p, l, p->stride);
        record_contexts(p, l, h);
    } else {
        int64_t column = l->at - l->line;
        l->column = (uint32_t)column;
        l->above = l->line_before + column < l->line ? p->data[l->line_before + column] : 0;
        l->aligned_byte = l->aligned < l->line ? p->data[l->aligned] : 0;
        text_contexts(p, l, h);
        if (c1 >= 128) script_contexts(l, h);
    }
    h[TEXT_CONTEXTS] = hash(l->token, l->token1);
    h[TEXT_CONTEXTS + 1] = hash(h[TEXT_CONTEXTS], l->token2);
    h[TEXT_CONTEXTS + 2] = hash(h[TEXT_CONTEXTS + 1], l->token3);
}

static void follow_records(const Predictor *p, const Lane *l, uint32_t c, uint32_t before) {
    uint32_t *one = p->followers1 + before, *three = p->followers3 + three_before(p, l, 2);
    *one = *one << 8 | c, *three = *three << 8 | c;
}

/* Byte c has come, and stands before lane->at. */
static void follow_text(const Predictor *p, Lane *l, uint32_t c) {
    uint32_t before = back(p, l, 2), *followers = p->followers + (before | back(p, l, 3) << 8);
    *followers = *followers << 8 | c;
    follow_words(l, c);
    follow_numbers(l, c, before);
    if (p->stride) {
        follow_records(p, l, c, before);
        return;
    }
    follow_comparison(l, c);
    follow_characters(l, c);
    follow_fields(l, c, before);
    follow_brackets(l, c);
    follow_tags(l, c, before);
    follow_lines(l, c);
    follow_aligned(p, l, c);
}

#endif
