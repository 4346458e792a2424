#!/bin/sh
# Makes a certificate authority and one certificate per service for docker-compose.yml, where there are none yet:
#   devcerts.sh FOLDER OWNER      OWNER is the numeric user who reads the keys
# For development: the authority's key stays next to what it signed. Delete the folder to start over.
set -eu
folder=$1
owner=$2
mkdir -p "$folder"
cd "$folder"

if [ ! -f ca.pem ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -sha256 \
		-subj "/CN=Armlet development authority" -keyout ca.key -out ca.new 2>/dev/null
	mv ca.new ca.pem
fi
for service in device-registry auth payments notify; do
	if [ -f "$service.pem" ]; then
		continue
	fi
	cat >"$service.ext" <<EXT
subjectAltName = URI:spiffe://armlet/service/$service, DNS:$service, DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth
keyUsage = digitalSignature
basicConstraints = CA:FALSE
EXT
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=$service" \
		-keyout "$service.key" -out "$service.csr" 2>/dev/null
	openssl x509 -req -in "$service.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 397 -sha256 \
		-extfile "$service.ext" -out "$service.new" 2>/dev/null
	rm -f "$service.csr" "$service.ext"
	chmod 600 "$service.key"
	chown "$owner" "$service.key"
	mv "$service.new" "$service.pem"
done
chmod 600 ca.key
chmod 755 .
