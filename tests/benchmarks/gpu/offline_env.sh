# To be sourced from the root of a checkout: puts what offline.sh packed into $1 where Python and flowsearch find it, in
# memory, and makes `flowsearch` a command.
site=/dev/shm/flowsearch
if [ ! -e "$site/done" ]; then
  mkdir -p "$site/home" "$site/bin"
  tar -xJf "$1/site.tar.xz" -C "$site"
  tar -xJf "$1/data.tar.xz" -C "$site/home"
  printf '#!/bin/sh\nexec python3 -m flowsearch "$@"\n' > "$site/bin/flowsearch"
  chmod +x "$site/bin/flowsearch"
  touch "$site/done"
fi
export PATH=$site/bin:$PATH PYTHONPATH=$PWD:$site FLOWSEARCH_HOME=$site/home
