# Answers every datagram with who sent it and how long it was, and as many letters as it asks for.
import socket
import sys

family, port = sys.argv[1:]
server = socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("::" if family == "6" else "0.0.0.0", int(port)))
print("listening", flush=True)
while True:
    question, client = server.recvfrom(65536)
    wanted = int(question.split()[0])
    answer = f"{client[0]} {client[1]} {len(question)} ".encode()
    server.sendto(answer + b"x" * wanted, client)
