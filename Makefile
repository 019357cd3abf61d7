# Twofold. `make help` lists the targets.
#
# Everything is built below build/ (contract: programs in build/bin/). SAN=address,undefined, SAN=thread and CC=clang each get
# an object folder of their own, so that switching rebuilds nothing.

VERSION := 0.1.0
PREFIX  ?= /usr/local
# systemd looks here whatever PREFIX is.
UNITDIR     ?= /usr/lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d
CC      ?= cc
SAN     ?=
SECONDS ?= 30

BUILD   := build
comma   := ,
VARIANT := $(notdir $(firstword $(CC)))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
OBJ     := $(BUILD)/obj/$(VARIANT)
BIN     := $(BUILD)/$(if $(SAN),$(subst $(comma),-,$(SAN))/)bin
GEN     := $(BUILD)/gen

# Where deploy/deps/install puts the wolfSSL it builds. Before the first `make deps` nothing is found; the make that builds is
# another one, started when the dependencies are there.
CACHE      := $(shell deploy/deps/install --cache-folder)
PKG_CONFIG := PKG_CONFIG_PATH=$(CACHE)/wolfssl/lib/pkgconfig:$(PKG_CONFIG_PATH) pkg-config

PACKAGES := libuv libprotobuf-c libmnl libnghttp2 sqlite3 yaml-0.1 jansson libseccomp libcap-ng libnftables
DEP_CFLAGS := $(shell $(PKG_CONFIG) --cflags wolfssl $(PACKAGES) 2>/dev/null)
DEP_LIBS   := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null)

CPPFLAGS += -D_GNU_SOURCE -DTWOFOLD_VERSION='"$(VERSION)"' -I. -I$(GEN)
CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 \
            -Wno-missing-field-initializers $(if $(WERROR),-Werror)
HARDEN   := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
TF_CFLAGS  = -std=gnu11 $(CFLAGS) $(WARNINGS) $(HARDEN) $(SANFLAGS) $(DEP_CFLAGS)
TF_LDFLAGS = $(LDFLAGS) $(SANFLAGS) -pie -Wl,-z,relro,-z,now
TF_LIBS    = $(CACHE)/wolfssl/lib/libwolfssl.a $(DEP_LIBS) -lm -lpthread

PROTOS    := $(wildcard proto/*.proto)
GEN_C     := $(PROTOS:proto/%.proto=$(GEN)/%.pb-c.c)
GEN_H     := $(GEN_C:.c=.h)
SOURCES   := $(wildcard proto/*/*.c policy/*.c controller/*.c controller/*/*.c agent/*.c agent/*/*.c agent/*/*/*.c)
MAINS     := controller/main.c controller/cli/main.c agent/main.c
OBJECTS   := $(patsubst %.c,$(OBJ)/%.o,$(filter-out $(MAINS),$(SOURCES))) $(GEN_C:$(GEN)/%.c=$(OBJ)/gen/%.o)
LIBRARY   := $(OBJ)/libtwofold.a
PROGRAMS  := $(BIN)/twofold $(BIN)/twofold-controller $(BIN)/twofold-agent
UNITS     := $(patsubst tests/unit/%.c,$(OBJ)/unit/%,$(wildcard tests/unit/test_*.c))
UNIT_HELP := $(patsubst %.c,$(OBJ)/%.o,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))

.PHONY: all help deps programs check units netns-programs interop-programs lint test demo bench fuzz corpora install clean
.DELETE_ON_ERROR:
.PRECIOUS: $(OBJ)/%.o $(GEN)/%.pb-c.c $(GEN)/%.pb-c.h

all: deps
	@$(MAKE) --no-print-directory programs

programs: $(PROGRAMS)

help:
	@echo 'make                the programs, in build/bin/ (installs what the build needs first)'
	@echo 'make demo           the main job on real applications; report in build/demo/'
	@echo 'make check          lint, headers, units: the quick loop'
	@echo 'make test           everything: check, corpora, namespaces, lab, interoperability, sanitizers'
	@echo 'make bench          every benchmark; make bench-NAME one of them'
	@echo 'make fuzz           every fuzzer for SECONDS=$(SECONDS) each'
	@echo 'make install        programs, manuals, systemd units and users, to DESTDIR= PREFIX=$(PREFIX)'
	@echo 'make deps           only what the build needs'
	@echo 'make clean          remove build/'
	@echo 'variables           SAN=address,undefined  SAN=thread  CC=clang  WERROR=1'

deps:
	@deploy/deps/install build

# ---- generated

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h &: proto/%.proto
	@mkdir -p $(GEN)
	protoc-c -Iproto --c_out=$(GEN) $<

$(OBJ)/gen/%.o: $(GEN)/%.c $(GEN_H)
	@mkdir -p $(@D)
	@echo '  CC      $<'
	@$(CC) $(CPPFLAGS) -std=gnu11 $(CFLAGS) $(HARDEN) $(SANFLAGS) -MMD -MP -c -o $@ $<

# ---- programs

$(OBJ)/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	@echo '  CC      $<'
	@$(CC) $(CPPFLAGS) $(TF_CFLAGS) -MMD -MP -c -o $@ $<

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(BIN)/twofold: $(OBJ)/controller/cli/main.o $(LIBRARY)
$(BIN)/twofold-controller: $(OBJ)/controller/main.o $(LIBRARY)
$(BIN)/twofold-agent: $(OBJ)/agent/main.o $(LIBRARY)
$(PROGRAMS): $(BIN)/.$(VARIANT)
	@echo '  LINK    $@'
	@$(CC) $(TF_LDFLAGS) -o $@ $(filter %.o %.a,$^) $(TF_LIBS)

# Says which variant the programs in $(BIN) are of: with another one they are linked again.
$(BIN)/.$(VARIANT):
	@mkdir -p $(@D)
	@rm -f $(@D)/.[a-z]*
	@touch $@

# ---- tests

$(OBJ)/unit/test_%: $(OBJ)/tests/unit/test_%.o $(UNIT_HELP) $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	@$(CC) $(TF_LDFLAGS) -o $@ $^ $(TF_LIBS) -lcriterion

units: $(UNITS)
	@tests/unit/run $(UNITS)

# What the namespace tests drive: one program a file.
NETNS := $(patsubst tests/netns/%.c,$(OBJ)/netns/%,$(wildcard tests/netns/*.c))

$(OBJ)/netns/%: $(OBJ)/tests/netns/%.o $(UNIT_HELP) $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	@$(CC) $(TF_LDFLAGS) -o $@ $^ $(TF_LIBS) -lcriterion

netns-programs: $(NETNS)

$(OBJ)/interop/%: $(OBJ)/tests/interop/%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	@$(CC) $(TF_LDFLAGS) -o $@ $^ $(TF_LIBS)

interop-programs: $(patsubst tests/interop/%.c,$(OBJ)/interop/%,$(wildcard tests/interop/*.c))

lint:
	@tests/lint/run

check: deps
	@deploy/deps/install test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory units

test: deps
	@deploy/deps/install test lab
	@$(MAKE) --no-print-directory programs
	@tests/run

demo: deps
	@deploy/deps/install demo
	@$(MAKE) --no-print-directory programs
	@tests/demo/run

bench: deps
	@deploy/deps/install bench
	@$(MAKE) --no-print-directory programs
	@tests/bench/run

bench-%: deps
	@deploy/deps/install bench
	@$(MAKE) --no-print-directory programs
	@tests/bench/run $*

# Each decoder's fuzzer, with clang's libFuzzer; the same sources replay their corpora in `make test`.
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

fuzz: deps
	@deploy/deps/install test
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined $(FUZZERS:%=$(BUILD)/fuzz/%)
	@tests/fuzz/run $(SECONDS) $(FUZZERS:%=$(BUILD)/fuzz/%)

$(BUILD)/fuzz/%: $(OBJ)/tests/fuzz/fuzz_%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	@$(CC) $(TF_LDFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $^ $(TF_LIBS)

$(OBJ)/corpus/%: $(OBJ)/tests/fuzz/fuzz_%.o $(OBJ)/tests/fuzz/replay.o $(LIBRARY)
	@mkdir -p $(@D)
	@$(CC) $(TF_LDFLAGS) -o $@ $^ $(TF_LIBS)

corpora: $(FUZZERS:%=$(OBJ)/corpus/%)
	@tests/fuzz/corpora $^

# ---- install

install: programs
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man1 \
	  $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/doc/twofold \
	  $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR)
	install -m 755 $(BIN)/twofold $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BIN)/twofold-agent $(BIN)/twofold-controller $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 docs/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 docs/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/twofold/
	install -m 644 deploy/systemd/*.service $(DESTDIR)$(UNITDIR)/
	sed -i 's|@sbindir@|$(PREFIX)/sbin|g' $(patsubst deploy/systemd/%,$(DESTDIR)$(UNITDIR)/%,$(wildcard deploy/systemd/*.service))
	install -m 644 deploy/systemd/sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/twofold.conf

clean:
	rm -rf $(BUILD)

-include $(shell [ -d $(OBJ) ] && find $(OBJ) -name '*.d')
