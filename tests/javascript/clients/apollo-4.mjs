// Apollo Client 4: queries over HTTP, subscriptions over graphql-transport-ws.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "apollo-client-4";
import { GraphQLWsLink } from "apollo-client-4/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { apollo } from "../apollo.mjs";
import { url } from "../drive.mjs";
import { socket } from "../socket.mjs";

const link = ApolloLink.split(
  ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
  new GraphQLWsLink(socket),
  new HttpLink({ uri: url }),
);

apollo(new ApolloClient({ link, cache: new InMemoryCache() }), gql, () => socket.dispose());
